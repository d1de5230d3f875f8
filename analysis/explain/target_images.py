"""The evaluation set of a study's target, and the user's own images, as its networks take them.

The only module of `analysis` that imports `datamodules`: maps need pixels, which no record has.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from datamodules.batches.loader import SideBatches
from datamodules.batches.preprocess import Preprocess
from datamodules.batches.resize import resize_bicubic
from datamodules.batches.statistics import channel_statistics
from datamodules.domain import Domain
from datamodules.faults import UnusableError
from datamodules.files.litter import Dropped, is_litter, listed
from datamodules.files.names import IMAGE_SUFFIXES, is_image
from datamodules.listing import FileListing, Listing, PackedListing
from datamodules.of_run import listing_of_run
from datamodules.pixels.decode import Decoded, Reading, decode, read_header
from datamodules.pixels.image_file import quiet_pillow
from datamodules.pixels.stored import remark_notes
from datamodules.splits import Division
from datamodules.stage_run import load_run
from datamodules.values.measure import summarise
from datamodules.values.notes import value_notes
from stages.console.summary import show_notes
from stages.errors import RelayError
from stages.store import RunFolder

DEEP_TYPES = frozenset({"int8", "uint16", "int16", "uint32", "int32", "float32"})
"""Types of an image's values beyond bytes."""

_GRID = 128  # rows and columns of pixels that are looked at for notes


@dataclass(frozen=True)
class TargetImages:
    """A target's evaluation set.

    Attributes:
        classes: Names of its classes.
        labels: int64, (N,).
        samples: N names, as in predictions.parquet.
        groups: N names of patients or objects.
        native_size: Height and width of an image before it is enlarged to the network's input.
        grey: Whether images have one channel, copied to three.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    samples: tuple[str, ...]
    groups: tuple[str, ...]
    native_size: tuple[int, int]
    grey: bool
    _domain: Domain
    _preprocess: Preprocess
    _reading: Reading
    _deep: frozenset[str]

    @property
    def size(self) -> int:
        """Height and width of the networks' input in pixels."""
        return self._preprocess.size

    def images(self, rows: Sequence[int]) -> Tensor:
        """Some of the images as the networks take them: float32, (len(rows), 3, size, size)."""
        return self._preprocess(self.pixels(rows))

    def pixels(self, rows: Sequence[int]) -> Tensor:
        """Some of the images as they are: uint8, (len(rows), H, W) or (len(rows), H, W, 3)."""
        return SideBatches(self._domain.val)[list(rows)].images

    def for_the_eye(self, rows: Sequence[int]) -> Tensor:
        """Some of the images in [0, 1], enlarged as for the networks: (len(rows), size, size) or (..., 3)."""
        pixels = self.pixels(rows)
        planes = pixels.permute(0, 3, 1, 2) if pixels.dim() == 4 else pixels.unsqueeze(1)
        enlarged = resize_bicubic(planes.float() / 255, self.size).clamp(0, 1)
        return enlarged.permute(0, 2, 3, 1) if pixels.dim() == 4 else enlarged.squeeze(1)

    def own_images(self, folder: Path) -> tuple[Tensor, Tensor]:
        """All images of a folder, in the order of names, read, resized and standardised as the target's.

        Returns:
            As the networks take them, float32, (N, 3, size, size); and for the eye, float32 in [0, 1],
            (N, size, size), or (N, size, size, 3) where the target's images are in colour.

        Raises:
            RelayError: If there is none, or one cannot be read.
        """
        if not folder.is_dir():
            raise RelayError(f"there is no folder {folder}; give one with images, as images=FOLDER")
        litter = Dropped()
        files = sorted(
            file for file in folder.iterdir() if not is_litter(file.name, litter) and is_image(file.name)
        )
        if not files:
            raise RelayError(f"{folder} has no images ({', '.join(IMAGE_SUFFIXES)})")
        decoded = [
            read_own(file, number, self._reading, self._deep) for number, file in enumerate(files, start=1)
        ]
        notes = [f"passed over as litter: {listed(litter)}"] if litter else []
        notes += remark_notes(Counter[str](remark for each in decoded for remark in each.remarks))
        show_notes([f"{folder}: {note}" for note in notes + _on_values(decoded, self._reading.window)])
        read = [np.require(each.pixels, requirements=["C", "W"]) for each in decoded]  # for torch
        prepared = torch.cat([self._preprocess(torch.from_numpy(pixels)[None]) for pixels in read])
        side = (self.size, self.size)
        shown = [
            np.asarray(Image.fromarray(pixels).resize(side, Image.Resampling.BICUBIC)) for pixels in read
        ]
        return prepared, torch.from_numpy(np.stack(shown)) / 255


def target_images(folder: Path, cache_dir: Path | None = None, root: str | None = None) -> TargetImages:
    """The evaluation set that a stage run was evaluated on.

    Args:
        folder: The stage run's; its `config.yaml` says where the images are.
        cache_dir: Where decoded images are kept; the configuration's if None.
        root: The folder or the address of the images; the configuration's if None, which must be a folder.

    Raises:
        RelayError: If the configuration or the images cannot be read, or they are not those of the recipe; if
            the configuration names an address: a store may be somebody else's, and nothing is fetched that
            this user did not type.
    """
    config, listing = listing_of_run(RunFolder(folder), root)
    if cache_dir is not None:
        config.paths.cache_dir = str(cache_dir)  # type: ignore[misc]  # a namespace, see there
    source, recipe = listing.source, RunFolder(folder).read_recipe()
    division = Division(*(recipe[name] for name in ("test_fraction", "folds", "fold", "seed")))
    data = recipe["data"]
    domain = load_run(listing, config, division)
    window = listing.window if isinstance(listing, PackedListing) else source.window
    mean, std = data["mean"], data["std"]
    if mean is None or std is None:
        mean, std = channel_statistics(domain)
    return TargetImages(
        classes=domain.classes,
        labels=domain.val.labels,
        samples=domain.val.samples,
        groups=domain.val.groups,
        native_size=(domain.shape[0], domain.shape[1]),
        grey=len(domain.shape) == 2,
        _domain=domain,
        _preprocess=Preprocess(data["image_size"], mean, std),
        _reading=Reading(source.decode_size, window, color=len(domain.shape) == 3),
        _deep=_deep_types(listing),
    )


def _on_values(decoded: Sequence[Decoded], window: tuple[float, float] | None) -> list[str]:
    """What is odd about the values of pictures of any sizes; of each some pixels are looked at."""
    some = [
        each.pixels[
            np.ix_(*(np.linspace(0, length - 1, _GRID).astype(int) for length in each.pixels.shape[:2]))
        ]
        for each in decoded
    ]
    none = np.zeros(len(some), np.int64)
    values = summarise(np.stack(some), [each.known for each in decoded], none, none, len(some))
    return value_notes(values, (), window)


def _deep_types(listing: Listing) -> frozenset[str]:
    """The types of more than 8 bits whose values mean what those of the target's files do."""
    if isinstance(listing, FileListing):
        try:
            kind = read_header(listing.files[0].location).kind
        except UnusableError:  # its images are in the cache
            return frozenset()
        return DEEP_TYPES if kind.dtype != np.uint8 else frozenset()
    # Hounsfield units have a sign; what was added to those without one is not known.
    in_hounsfield = isinstance(listing, PackedListing) and listing.window is not None
    return DEEP_TYPES - {"uint16", "uint32"} if in_hounsfield else frozenset()


def read_own(file: Path, number: int, reading: Reading, deep: frozenset[str]) -> Decoded:
    """A picture of the user's own, decoded as the target's images are.

    Args:
        file: The picture.
        number: Its place in the order of names, which messages call it by.
        reading: How the target's images are read.
        deep: Which types of more than 8 bits it may be of: its values then mean what the target's do.

    Raises:
        RelayError: It is not an image that can be used, is damaged, or has more than 8 bits where the
            target's have not.
    """
    try:
        with quiet_pillow():
            dtype = read_header(str(file)).kind.dtype
            if dtype != np.uint8 and dtype.name not in deep:
                raise UnusableError(
                    "it has more than 8 bits per channel; window it to 8 bits first, as the target's were"
                )
            return decode(str(file), reading)
    except UnusableError as error:
        raise RelayError(
            f"image {number} of {file.parent}, in the order of names, cannot be read: {error}"
        ) from None
