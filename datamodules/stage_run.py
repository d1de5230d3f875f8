"""A stage run's images: loaded and divided, made ready for its network, and recorded."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.batches.statistics import channel_statistics
from datamodules.copies import across_sides, equal_in_memory
from datamodules.division import divide
from datamodules.domain import Domain
from datamodules.from_config import load_source
from datamodules.listing import Listing, PackedListing
from datamodules.listing.hidden import with_hidden_names
from datamodules.loading import check_unchanged
from datamodules.splits import Division
from datamodules.values.unit import grey_levels
from stages.balance import check_classes
from stages.config import Config
from stages.console.words import counted
from stages.parameters import part_of
from stages.recipe import Distortions, Recipe
from stages.record import AcquisitionRecord, DataRecord, InputRecord
from stages.seeds import Seeds
from stages.source import Source
from stages.values import Values

if TYPE_CHECKING:
    from datamodules.batches.stage_data import StageData


def load_run(listing: Listing, config: Config, division: Division, loaded: Domain | None = None) -> Domain:
    """The images of a stage run, on the sides that it uses; see `datamodules.division`.

    Samples and groups are as they are written: digests, where they are a person's own names.

    Args:
        listing: Of its source.
        config: Says where decoded images are kept.
        division: What its recipe says of its sides.
        loaded: Its images, where `from_config.load_sources` has kept them.

    Raises:
        RelayError: As `load_source` and `divide`.
    """
    domain = load_source(listing, config) if loaded is None else loaded
    if isinstance(listing, PackedListing) and division.folds is not None and domain.in_memory:
        domain = replace(domain, crossing_pictures=0, copies=equal_in_memory(domain))
    divided = divide(domain, listing.source, division)
    side_of = {sample: name for name, side in divided.named_sides for sample in side.samples}
    equal = len(across_sides(domain.copies, side_of))
    notes = [f"{counted(equal, 'picture')} on several sides of the split (equal images)"] if equal else []
    return replace(
        with_hidden_names(divided, listing),
        crossing_pictures=max(divided.crossing_pictures, equal),
        notes=(*divided.notes, *notes),
    )


def stage_data(domain: Domain, recipe: Recipe, seeds: Seeds, workers: int) -> "StageData":
    """The datamodule of a stage run.

    Args:
        domain: Its images.
        recipe: What to make of them.
        seeds: The run's random streams.
        workers: Processes that decode ahead where the images do not fit in memory.

    Raises:
        RelayError: The data ratio leaves a class empty, one without images is to be balanced, the images'
            own mean is asked for and they do not fit in memory; or as `grey_levels`.
    """
    from datamodules.batches.stage_data import StageData

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
        distortions=(distortions := part_of(Distortions, recipe.data)),
        levels=grey_levels(distortions, domain.values, recipe.stage),
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


def image_records(
    listing: Listing, config: Config, domain: Domain, data: "StageData"
) -> tuple[DataRecord, InputRecord]:
    """The record's parts on a stage run's images, when it has been trained.

    Raises:
        RelayError: The images were replaced meanwhile.
    """
    check_unchanged(listing, domain, Path(config.paths.cache_dir).expanduser())
    return _data_record(domain, data), _input_record(listing, config, domain, data)


def _data_record(domain: Domain, data: "StageData") -> DataRecord:
    histogram = data.val_histogram
    return DataRecord(
        digest=domain.digest,
        content=domain.content,
        height=domain.shape[0],
        width=domain.shape[1],
        image_size=data.image_size,
        classes=list(data.classes),
        train_counts=list(data.train_counts),
        val_counts=list(data.val_counts),
        train_groups=len(set(data.train_groups)),
        val_groups=len(set(data.val_groups)),
        test_counts=list(data.test_counts) if data.test_images else None,
        test_groups=len(set(data.test_groups)) if data.test_images else None,
        grouped=domain.grouped,
        train_class_groups=list(data.train_class_groups),
        val_class_groups=list(data.val_class_groups),
        histogram_accuracy=None if histogram is None else float(np.mean(histogram == domain.val.labels)),
        crossing_groups=domain.crossing_groups,
        crossing_pictures=domain.crossing_pictures,
        notes=list(domain.notes),
        values=domain.values,
    )


def _input_record(listing: Listing, config: Config, domain: Domain, data: "StageData") -> InputRecord:
    assert domain.values is not None
    taken = listing.description.get("acquisition") if isinstance(listing, PackedListing) else None
    return InputRecord(
        mean=list(data.mean),
        std=list(data.std),
        color=len(domain.shape) == 3,
        window=_window(listing.source, domain.values),
        decode_size=listing.source.decode_size,
        precision=config.trainer.precision,
        memory_format=config.trainer.memory_format,
        acquisition=None if taken is None else AcquisitionRecord.model_validate(taken),
    )


def _window(source: Source, values: Values) -> list[float] | None:
    """The window by which other files become the same pixels as these did."""
    if values.eight_bit == 1 and values.images == values.of:
        return None
    if source.window is not None:
        return list(source.window)
    if values.eight_bit == 0 and values.black is not None and values.white is not None:
        return [values.black, values.white]
    return None
