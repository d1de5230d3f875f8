"""Maps as NIfTI files in the geometry of the series: of a NIfTI series, its own header, axes and shape."""

import gzip
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from analysis.prediction.series.pattern_map import ONE, PatternMap
from analysis.prediction.series.volume import CTVolume
from datamodules.readers.hrct.scans.dicom import silent
from datamodules.readers.hrct.scans.nifti import VolumePlane
from stages.machine.atomic import atomic_file

PATTERN = "pattern.nii.gz"
PROBABILITIES = "probabilities.nii.gz"

_QUICK = 1  # gzip's level for probabilities, which hardly become smaller with a higher one
_SAME = 1e-3  # mm between what qform and sform say of a voxel
_TEXTS = ("descrip", "aux_file", "db_name", "intent_name")  # where programs put names and paths

Values = Callable[[int], npt.NDArray[Any]]


def write_pattern(path: Path, made: PatternMap) -> None:
    """Write the map: uint8, 0 outside the lungs, else index + 1 in the order of the classes."""
    header = _header(made.volume, np.uint8)
    _write(path, header, _stream(made.volume, np.uint8, made.pattern), level=6)


def write_probabilities(path: Path, made: PatternMap) -> None:
    """Write the probability of each class, in their order along the fourth axis.

    Stored as whole numbers of 16 bits with the scale 1 / 65535, which programs apply when they read.
    """
    header = _header(made.volume, np.uint16, len(made.classes))
    header.set_slope_inter(1 / ONE, 0)

    def planes() -> Iterator[bytes]:
        for place in range(len(made.classes)):
            yield from _stream(made.volume, np.uint16, partial(_of_class, made, place))

    _write(path, header, planes(), level=_QUICK)


def _of_class(made: PatternMap, place: int, number: int) -> npt.NDArray[np.uint16]:
    """(H, W) of a class; mapped anew for each slice, so that no more of the file counts as memory."""
    return np.array(made.probabilities[place, number])


def _write(path: Path, header: Any, planes: Iterator[bytes], level: int) -> None:
    with atomic_file(path) as file, gzip.GzipFile("", "wb", level, file, mtime=0) as packed:
        header.write_to(packed)
        for plane in planes:
            packed.write(plane)


def _header(volume: CTVolume, kind: Any, classes: int = 0) -> Any:
    """Little-endian, with where the voxels lie."""
    first = volume.scan.slices[0]
    if isinstance(first, VolumePlane):
        header = _own_header(first.location)
        shape = header.get_data_shape()
    else:
        header = _new_header(volume)
        shape = volume.shape[::-1]
    header.set_data_dtype(kind)
    header.set_data_shape((*(*shape, 1, 1)[:3], classes) if classes else shape)
    header.set_slope_inter(1, 0)
    header.set_data_offset(header.single_vox_offset)
    return header


def _own_header(location: str) -> Any:
    """The series' own, without texts, times and extensions."""
    with silent():
        header = nibabel.load(location).header.copy().as_byteswapped("<")  # type: ignore[attr-defined]
    for text in set(_TEXTS) & set(header.keys()):  # NIfTI-2 has fewer
        header[text] = b""
    header["intent_code"] = header["cal_min"] = header["cal_max"] = header["toffset"] = 0
    header["pixdim"][4:] = 1
    header.set_xyzt_units(header.get_xyzt_units()[0])
    header.extensions.clear()
    return header


def _new_header(volume: CTVolume) -> Any:
    header: Any = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_shape(volume.shape[::-1])
    if not volume.placed:
        header.set_zooms(np.diag(volume.affine)[:3])
        return header  # sform and qform say that nothing is known
    header.set_xyzt_units("mm")
    header.set_sform(volume.affine, "scanner")
    header.set_qform(volume.affine, "scanner")
    last = np.array([*(side - 1 for side in volume.shape[::-1]), 1])
    if np.abs((header.get_qform() - volume.affine) @ last).max() > _SAME:  # of a tilted gantry
        header.set_qform(None)
    return header


def _stream(volume: CTVolume, kind: Any, values: Values) -> Iterator[bytes]:
    """The voxels of (S, H, W) in the order of a file: the first axis fastest.

    Args:
        volume: The series.
        kind: What the voxels are stored as.
        values: The pixels of a slice, (H, W).
    """
    planes = [one for one in volume.scan.slices if isinstance(one, VolumePlane)]
    if not planes:
        for number in range(volume.shape[0]):
            yield values(number).astype(kind).tobytes()
        return
    own = [(one.place, one.turn.undo, number) for number, one in enumerate(planes)]
    if planes[0].axis == 2:
        for _, undo, number in sorted(own, key=lambda one: one[0]):
            yield undo(values(number)).astype(kind).tobytes("F")
        return
    # Slices lie across the file's first or second axis: all of them are needed for its first bytes.
    height, width = own[0][1](values(0)).shape
    whole = np.empty((len(own), height, width), kind)
    for place, undo, number in own:
        whole[place] = undo(values(number))
    yield np.moveaxis(whole, 0, planes[0].axis).tobytes("F")
