"""Which pictures a source holds, and how a batch of them becomes what training saw."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from analysis.prediction.ensemble import Ensemble
from analysis.prediction.sources import Source
from datamodules.faults import UnusableError
from datamodules.files.find import Finder, OutsideError
from datamodules.files.litter import Dropped, listed
from datamodules.files.names import is_image
from datamodules.files.table import read_table
from datamodules.files.walk import walk
from datamodules.packing.read import PackedImages, read_description
from datamodules.packing.verify import set_content, verified_manifest
from datamodules.pixels.decode import Decoded, Reading, decode, in_channels
from datamodules.pixels.window import HOUNSFIELD_WINDOW, Window
from stages.console.words import counted
from stages.errors import RelayError

Pixels = npt.NDArray[np.uint8]
Skipped = tuple[str, str]
"""The name of a picture that cannot be used, and why."""


@dataclass(frozen=True)
class Batch:
    """Pictures that were read.

    Attributes:
        pixels: (N, H, W), or (N, H, W, 3) for networks of colour: as training saw them.
        places: of each, in the listing.
        skipped: those that cannot be used.
        remarks: what a person should know -> of how many pictures.
    """

    pixels: Pixels
    places: list[int]
    skipped: list[Skipped]
    remarks: Counter[str]


class Pictures(Protocol):
    """The pictures of a source, listed but not decoded.

    Attributes:
        names: of each, as predictions.csv has them.
        digest: SHA-256: what tells this source from others, and from itself when it has changed.
        skipped: what was named or found but cannot be used.
        notes: what a person should know, a line each.
    """

    @property
    def names(self) -> list[str]: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def skipped(self) -> list[Skipped]: ...  # noqa: D102
    @property
    def notes(self) -> list[str]: ...  # noqa: D102
    def read(self, places: Iterable[int], pool: ThreadPoolExecutor) -> Batch:
        """Decode some; use it inside of `quiet_pillow`.

        Args:
            places: which.
            pool: what decodes side by side.
        """


def list_pictures(source: Source, ensemble: Ensemble) -> Pictures:
    """List the pictures of a source.

    Args:
        source: a folder, a picture, a manifest or a prepared set.
        ensemble: the networks, which say how pictures are read.

    Raises:
        RelayError: there are none, or a manifest or set cannot be read or is not of the networks' size.
    """
    if source.form == "packed":
        return _list_set(source, ensemble)
    shape = (*ensemble.shape, 3) if ensemble.input.color else ensemble.shape
    window = ensemble.input.window
    found = FilePictures(
        Reading(ensemble.input.decode_size, (window[0], window[1]) if window else None, ensemble.input.color),
        shape,
    )
    if source.form == "picture":
        found.add(source.path.name, str(source.path), source.path.stat())
    elif source.form == "manifest":
        _add_listed(found, source)
    else:
        _add_below(found, source)
    if found.reading.decode_size is not None:
        found.notes.append(
            f"pictures are resized, the shorter side to {found.reading.decode_size} px, and cropped at their "
            "centre, as the training images were"
        )
    return found


@dataclass
class FilePictures:
    """Image files; see `Pictures`.

    Attributes:
        reading: how they are decoded.
        shape: that they must have then.
    """

    reading: Reading
    shape: tuple[int, ...]
    names: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _locations: list[str] = field(default_factory=list)
    _content: Any = field(default_factory=hashlib.sha256)

    def add(self, name: str, location: str, status: os.stat_result) -> None:
        """One more file."""
        self.names.append(name)
        self._locations.append(location)
        line = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        self._content.update(line.encode("utf-8", "surrogateescape"))

    @property
    def digest(self) -> str:
        """Of names, sizes and times, in the order of the listing."""
        return str(self._content.hexdigest())

    def read(self, places: Iterable[int], pool: ThreadPoolExecutor) -> Batch:
        """Decode some."""
        places = list(places)
        batch = Batch(np.empty((len(places), *self.shape), np.uint8), [], [], Counter())
        for place, decoded in zip(places, pool.map(self._read, places), strict=True):
            if isinstance(decoded, str):
                batch.skipped.append((self.names[place], decoded))
            else:
                batch.pixels[len(batch.places)] = decoded.pixels
                batch.places.append(place)
                batch.remarks.update([*map(str, decoded.remarks), *self._remarks(decoded)])
        return Batch(batch.pixels[: len(batch.places)], batch.places, batch.skipped, batch.remarks)

    def _read(self, place: int) -> Decoded | str:
        try:
            decoded = decode(self._locations[place], self.reading)
        except UnusableError as error:
            return str(error)
        if decoded.pixels.shape != self.shape:
            (height, width), (rows, columns) = decoded.pixels.shape[:2], self.shape[:2]
            return (
                f"it has {width} x {height} px, the training images {columns} x {rows}: the size of what "
                "they show is part of what networks learn, so nothing is resized unasked; cut or resample it "
                "to their scale, or take a whole slice as kind=series"
            )
        return decoded

    def _remarks(self, decoded: Decoded) -> list[str]:
        """What is other than in the training images, of one picture."""
        values, colored = decoded.known
        window, found = self.reading.window, []
        if window is not None and values is None:
            found.append(
                f"of 8 bits, where values from {window[0]:g} to {window[1]:g} were black to white in "
                "training; see whether theirs are"
            )
        if window is None and values is not None:
            found.append(
                "of more than 8 bits, which the training images had not; their type says what is white"
            )
        if colored != self.reading.color:
            found.append("in colour, read as grey" if colored else "grey, where networks know colours")
        return found


def _add_below(found: FilePictures, source: Source) -> None:
    dropped, others = Dropped(), 0

    def unreadable(folder: str, _depth: int, error: OSError) -> None:
        found.skipped.append((os.path.relpath(folder, source.path), f"it cannot be read: {error.strerror}"))

    files = []
    for name, entry in walk(source.path, on_unreadable=unreadable, dropped=dropped):
        if is_image(name):
            files.append((name, entry.path))
        else:
            others += 1
    for name, location in sorted(files):
        try:
            found.add(name, location, os.stat(location))
        except OSError as error:
            found.skipped.append((name, error.strerror or str(error)))
    if others:
        found.notes.append(
            f"{counted(others, 'file that is no image', 'files that are no images')}, by name, passed over"
        )
    if dropped:
        found.notes.append(f"passed over: {listed(dropped)}")


def _add_listed(found: FilePictures, source: Source) -> None:
    table = read_table(source.path, ("path",), what=f"manifest {source.typed}")
    finder = Finder(str(source.path.parent))
    seen: set[str] = set()
    for _, values in table.rows():
        name = values["path"]
        if not name or name in seen:
            continue
        seen.add(name)
        try:
            file = finder.find(name)
        except OutsideError:
            found.skipped.append((name, "it is not below the manifest's folder"))
            continue
        if file is None or not is_image(name):
            why = "there is no such file" if file is None else "its name is not one of an image"
            found.skipped.append((name, why))
        else:
            found.add(name, file[1], file[2])
    found.notes.extend(f"the manifest: {note}" for note in table.notes)
    found.notes.extend(f"{counted(count, 'path')} {way}" for way, count in finder.noted.items())
    if not seen:
        raise RelayError(f"manifest {source.typed} lists no image below its header")


@dataclass(frozen=True)
class SetPictures:
    """Images of a prepared set; see `Pictures`."""

    images: PackedImages
    color: bool
    names: list[str]
    digest: str
    notes: list[str]
    skipped: list[Skipped] = field(default_factory=list)

    def read(self, places: Iterable[int], pool: ThreadPoolExecutor) -> Batch:
        """Copy some out of the set's parts."""
        places = list(places)
        pixels = self.images.gather(places)
        if pixels.ndim == 4 and not self.color:
            pixels = np.stack([in_channels(picture, color=False) for picture in pixels])
        return Batch(pixels, places, [], Counter())


def _list_set(source: Source, ensemble: Ensemble) -> SetPictures:
    description = read_description(source.typed)
    shape, (height, width) = tuple(description["shape"]), ensemble.shape
    if shape[:2] != (height, width):
        raise RelayError(
            f"the set {source.typed} has images of {shape[1]} x {shape[0]} px, the networks were trained on "
            f"{width} x {height}; prepare it again with size={height}"
        )
    with TemporaryDirectory() as nowhere:  # what was verified is not kept: it is read once
        manifest = verified_manifest(source.typed, description, Path(nowhere))
    notes = []
    if any(member.record.data.content == set_content(description) for member in ensemble.members):
        notes.append(
            "this is the set that networks were trained on: of its training images they know the class"
        )
        tested = manifest["split"] == "test"
        if tested.any():
            notes.append(f"its locked test side is left out ({counted(int(tested.sum()), 'image')})")
            manifest = manifest[~tested]
    window = _window_of_set(description["dtype"], ensemble.input.window, notes)
    if (len(shape) == 3) != ensemble.input.color:
        notes.append("in colour, read as grey" if len(shape) == 3 else "grey, where networks know colours")
    parts, places = (manifest[name].to_numpy(np.int32) for name in ("part", "place"))
    images = PackedImages(source.typed, parts, places, shape, window)
    names = [str(name) for name in manifest["sample"]]
    return SetPictures(images, ensemble.input.color, names, str(description["digest"]), notes)


def _window_of_set(dtype: str, trained: list[float] | None, notes: list[str]) -> Window | None:
    if dtype == "uint8":
        if trained is not None:
            notes.append(
                f"the set has 8 bits, where values from {trained[0]:g} to {trained[1]:g} were black to white "
                "in training; see whether its own are"
            )
        return None
    if trained is not None:
        return trained[0], trained[1]
    notes.append(
        f"the set has Hounsfield units, the training images 8 bits; {list(HOUNSFIELD_WINDOW)} become "
        "black and white"
    )
    return HOUNSFIELD_WINDOW
