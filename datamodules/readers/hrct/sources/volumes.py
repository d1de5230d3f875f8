"""NIfTI files as series of slices."""

import numpy as np

from datamodules.faults import Faults, UnusableError
from datamodules.readers.hrct.scans.geometry import Planes
from datamodules.readers.hrct.scans.nifti import VolumePlane, read_volume
from datamodules.readers.hrct.sources.folders import SliceFolder
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.series import Series
from datamodules.readers.hrct.sources.source_file import SourceFile

_AXIAL = 0.8  # least cosine between the slices' normal and the body's axis
_IN_PLANE = 2.0  # largest ratio of a pixel's sides; beyond, slices were cut from others


def volume_series(folder: SliceFolder, options: HrctOptions, faults: Faults) -> list[Series]:
    """The series that NIfTI files of a folder hold, with axial slices."""
    series = []
    for number, file in enumerate(folder.volumes, start=1):
        title = f"series {number} of folder {folder.number}"
        try:
            series.append(_series(title, folder, file, options))
        except UnusableError as error:
            faults.add(title, error)
    return series


def _series(title: str, folder: SliceFolder, file: SourceFile, options: HrctOptions) -> Series:
    volume = read_volume(file.location, file.modified)
    axis = volume.axis_along(np.array([0.0, 0.0, 1.0]))
    planes = volume.planes(axis)
    turn = planes[0].upright()
    turned = [plane.turned(turn) for plane in planes]
    ratio = max(turned[0].spacing) / min(turned[0].spacing)
    if abs(turned[0].normal[2]) < _AXIAL or ratio > _IN_PLANE:
        raise UnusableError(
            f"its slices are not axial: {volume}; take the axial series, since slices cut from another one "
            "have another resolution in each direction"
        )
    order = sorted(range(len(planes)), key=lambda place: planes[place].origin[2])
    if options.slice_order == "descending":
        order.reverse()
    return Series(
        title=title,
        folder=folder,
        slices=(file,) * len(planes),
        shape=turned[0].shape,
        spacing=turned[0].spacing,
        dicom=False,
        eight_bit=False,
        unnumbered="a NIfTI file does not say at which end slice 1 is"
        if options.slice_order == "image_numbers"
        else "",
        first=1,
        uid="",
        patient=file.path if folder.independent else folder.patient,
        planes=Planes(tuple(turned[place] for place in order)),
        volume=tuple(VolumePlane(file.location, file.modified, axis, place, turn) for place in order),
    )
