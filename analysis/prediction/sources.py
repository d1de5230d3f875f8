"""What a source is: pictures to classify, or a series to map; recognised by its names and headers."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from analysis.prediction.arguments import KindOfSource
from analysis.prediction.ensemble import Ensemble
from datamodules.faults import UnusableError
from datamodules.files.names import is_image
from datamodules.files.walk import walk
from datamodules.packing.layout import DESCRIPTION
from datamodules.packing.read import is_remote
from datamodules.pixels.decode import Header, read_header
from datamodules.pixels.image_file import quiet_pillow
from datamodules.readers.hrct.scans.kinds import is_nifti, may_be_dicom
from stages.errors import RelayError

Form = Literal["folder", "picture", "manifest", "packed", "series"]
"""How a source is read: image files below a folder, one image file, a CSV file that lists some, a prepared
set; or slices of CT."""

_LOOKED_AT = 32  # images whose headers tell slices from pictures
_LARGER = 2  # times the training images, in both directions: a slice that patches are cut from


@dataclass(frozen=True)
class Source:
    """What the networks are applied to.

    Attributes:
        typed: as it was typed.
        form: how it is read.
    """

    typed: str
    form: Form

    @property
    def path(self) -> Path:
        """Where it lies; of a prepared set it may be an address, see `typed`."""
        return Path(self.typed).expanduser()


def check_source(typed: str, out: Path) -> None:
    """Refuse a source that is not there, or lies where the results go, before networks are loaded.

    Raises:
        RelayError: one of these.
    """
    if is_remote(typed):
        return
    path = Path(typed).expanduser()
    if not path.exists():
        raise RelayError(f"source={typed}: there is no such file or folder")
    inside, outside = path.resolve(), out.expanduser().resolve()
    if inside == outside or outside in inside.parents:
        raise RelayError(f"source={typed} lies in out={out}; choose another folder for the results")
    if path.is_dir() and inside in outside.parents:
        raise RelayError(
            f"out={out} lies in source={typed}, so that results would be taken for images; choose a folder "
            "beside it"
        )


def recognise(typed: str, kind: KindOfSource, ensemble: Ensemble) -> Source:
    """What a source is.

    With kind=auto a folder is a series where it holds DICOM or NIfTI files, or images that look like slices:
    of one size, grey, of more than 8 bits, and at least twice as large as what the networks were trained on.

    Args:
        typed: a path, or a prepared set's address.
        kind: what the user says it is.
        ensemble: the networks.

    Raises:
        RelayError: nothing there can be read.
    """
    path = Path(typed).expanduser()
    if is_remote(typed) or (path / DESCRIPTION).is_file():
        if kind == "series":
            raise RelayError(f"source={typed} is a prepared set of patches, not a series; leave kind out")
        return Source(typed, "packed")
    if kind == "series":
        return Source(typed, "series")
    if path.is_file():
        return Source(typed, _form_of_file(typed, path))
    images, slices = _found_in(path)
    if slices and kind == "auto":
        return Source(typed, "series")
    if not images:
        scans = "; it holds slices of CT: leave kind out" if slices else ""
        raise RelayError(f"source={typed} holds no image (PNG, JPEG, TIFF, BMP), DICOM or NIfTI file{scans}")
    if kind == "auto" and _are_slices(images, ensemble):
        return Source(typed, "series")
    return Source(typed, "folder")


def _form_of_file(typed: str, path: Path) -> Form:
    if is_image(path.name):
        return "picture"
    if path.suffix.lower() in (".csv", ".tsv"):
        return "manifest"
    try:
        if is_nifti(path.name) or may_be_dicom(path.name, str(path)):
            return "series"
    except UnusableError as error:
        raise RelayError(f"source={typed}: {error}") from None
    raise RelayError(f"source={typed} is no image, CSV, DICOM or NIfTI file")


def _found_in(folder: Path) -> tuple[list[str], bool]:
    """Some of the image files below a folder, and whether there are slices of CT; ends where it is known."""
    images: list[str] = []
    for name, entry in walk(folder, on_unreadable=lambda *_: None):
        try:
            if is_image(name):
                images += [entry.path] if len(images) < _LOOKED_AT else []
            elif os.path.isfile(entry.path) and (is_nifti(name) or may_be_dicom(name, entry.path)):
                return images, True
        except UnusableError:
            continue  # said when it is read
    return images, False


def _are_slices(images: list[str], ensemble: Ensemble) -> bool:
    if ensemble.input.color or ensemble.input.decode_size is not None:
        return False
    headers: list[Header] = []
    with quiet_pillow():
        for image in images:
            try:
                headers.append(read_header(image))
            except UnusableError:
                continue
    height, width = ensemble.shape
    return bool(headers) and all(
        not header.color
        and header.kind.dtype.itemsize > 1
        and (header.width, header.height) == (headers[0].width, headers[0].height)
        and header.height >= _LARGER * height
        and header.width >= _LARGER * width
        for header in islice(headers, _LOOKED_AT)
    )
