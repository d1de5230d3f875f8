"""Reads some hundred images of ILSVRC2012 as one piece of work."""

from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from datamodules.domain import SideName
from datamodules.faults import Faults, OnError, Problem, UnusableError
from datamodules.packing.units import Sample
from datamodules.pixels.image_file import read_bytes
from datamodules.readers.ilsvrc.images import PackedEntries, image_name
from stages.errors import RelayError

Layout = Literal["archive", "class_folders", "flat"]


@dataclass(frozen=True, eq=False)
class ImageUnit:
    """Images that follow each other in sorted order, of one side.

    Attributes:
        key: Side and number of the unit.
        fingerprint: Changes when its files do.
        side: The provider's.
        location: The archive, or the side's folder.
        layout: How the images lie there: in an archive, in one folder per class, or side by side.
        classes: WNIDs, for the labels.
        entries: Where the images lie.
        size: Side in pixels to which they are resized and cropped.
    """

    key: str
    fingerprint: str
    side: SideName
    location: Path
    layout: Layout
    classes: tuple[str, ...]
    entries: PackedEntries
    size: int

    def read(self, on_error: OnError) -> tuple[list[Sample], list[Problem]]:
        """Decode the images, in sorted order; each is uint8, (size, size, 3), and a group of its own.

        Raises:
            RelayError: An image cannot be used and `on_error` is `raise`; names its side, class and file,
                or its place in the class where the file has not the provider's name. Or the archive cannot be
                opened.
        """
        # Here, since a survey needs no torch: half a gigabyte and seconds in every process.
        from datamodules.pixels.quick import decode_quickly

        faults = Faults(on_error)
        samples: list[Sample] = []
        with ExitStack() as stack:
            archive = stack.enter_context(self._opened_archive()) if self.layout == "archive" else None
            for index, file in enumerate(self.entries.names()):
                wnid = self.classes[self.entries.labels[index]]
                name = image_name(self.side, wnid, int(self.entries.places[index]), file)
                try:
                    image = decode_quickly(self._content(index, file, archive), self.size)
                except UnusableError as error:
                    faults.add(name, error)
                except OSError as error:  # its text would name the path
                    faults.add(name, f"it cannot be read: {error.strerror}")
                else:
                    samples.append(Sample(image.pixels, wnid, name, name, self.side, remarks=image.remarks))
        faults.settle()
        return samples, faults.problems

    def _content(self, index: int, file: str, archive: FileIO | None) -> bytes:
        if archive is None:
            wnid = self.classes[self.entries.labels[index]]
            folder = self.location / wnid if self.layout == "class_folders" else self.location
            return read_bytes(str(folder / file))
        archive.seek(int(self.entries.offsets[index]))
        return archive.read(int(self.entries.sizes[index]))

    def _opened_archive(self) -> FileIO:
        try:
            return open(self.location, "rb", buffering=0)
        except OSError as error:
            raise RelayError(
                f"{self.location.name} cannot be read: {error.strerror}; it could be when it was listed."
            ) from error
