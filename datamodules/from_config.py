"""From the configuration's keys to the images they name."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.batches.statistics import channel_statistics
from datamodules.division import divide
from datamodules.domain import Domain
from datamodules.listing import Listing, list_source
from datamodules.loading import load
from stages.balance import check_classes
from stages.config import Config
from stages.errors import RelayError
from stages.recipe import Recipe
from stages.record import DataRecord
from stages.seeds import Seeds
from stages.source import Source

if TYPE_CHECKING:
    from datamodules.batches.stage_data import StageData
_GIB = 1024**3


class Listings:
    """Listings by source: each source is listed once, however often it is asked for."""

    def __init__(self) -> None:
        self._known: dict[Source, Listing] = {}

    def of(self, source: Source) -> Listing:
        """The listing of a source.

        Raises:
            RelayError: The source is not usable.
        """
        if source not in self._known:
            self._known[source] = list_source(source)
        return self._known[source]


def load_source(listing: Listing, config: Config) -> Domain:
    """A listed source's images, decoded or generated once and then read from the cache.

    Raises:
        RelayError: An image cannot be read or the cache cannot be written.
    """
    return load(
        listing,
        Path(config.paths.cache_dir).expanduser(),
        memory_limit_bytes=round(config.data.memory_limit_gb * _GIB),
    )


def load_run(listing: Listing, config: Config, *, test_fraction: float | None) -> Domain:
    """The images of a stage run, on the sides that it uses; see `datamodules.division`.

    Args:
        listing: Of its source.
        config: Says where decoded images are kept.
        test_fraction: Of its recipe.

    Raises:
        RelayError: As `load_source` and `divide`.
    """
    return divide(load_source(listing, config), listing.source, test_fraction=test_fraction)


def stage_data(domain: Domain, recipe: Recipe, seeds: Seeds, workers: int) -> "StageData":
    """The datamodule of a stage run.

    Args:
        domain: Its images.
        recipe: What to make of them.
        seeds: The run's random streams.
        workers: Processes that decode ahead where the images do not fit in memory.

    Raises:
        RelayError: The data ratio leaves a class empty, one without images is to be balanced, or the images'
            own mean is asked for and they do not fit in memory.
    """
    from datamodules.batches.stage_data import StageData

    if recipe.folds is not None:
        raise RelayError("folds of images are not drawn yet; plan them with plan=true")
    mean: tuple[float, ...] | None = recipe.data.mean
    std: tuple[float, ...] | None = recipe.data.std
    if mean is None or std is None:
        mean, std = channel_statistics(domain)
    data = StageData(
        domain=domain,
        batch_size=recipe.optim.batch_size,
        eval_batch_size=recipe.optim.batch_size,
        image_size=recipe.data.image_size,
        mean=mean,
        std=std,
        augment=recipe.data.augment,
        sampling=recipe.optim.sampling,
        data_ratio=recipe.data.ratio,
        ratio_unit=recipe.data.ratio_unit,
        order_seed=seeds.order,
        subset_seed=seeds.subset,
        augment_seed=seeds.augmentation,
        workers=workers,
        channels_last=recipe.arithmetic.memory_format == "channels_last",
    )
    check_classes(recipe.optim, data.classes, data.train_counts)
    return data


def data_record(domain: Domain, data: "StageData") -> DataRecord:
    """What the record says of a stage run's images."""
    histogram = data.val_histogram
    return DataRecord(
        digest=domain.digest,
        classes=list(data.classes),
        train_counts=list(data.train_counts),
        val_counts=list(data.val_counts),
        train_groups=len(set(data.train_groups)),
        val_groups=len(set(data.val_groups)),
        test_counts=list(data.test_counts) if data.test_images else None,
        test_groups=len(set(data.test_groups)) if data.test_images else None,
        train_class_groups=list(data.train_class_groups),
        val_class_groups=list(data.val_class_groups),
        histogram_accuracy=None if histogram is None else float(np.mean(histogram == domain.val.labels)),
        crossing_groups=domain.crossing_groups,
        crossing_pictures=domain.crossing_pictures,
    )
