"""A synthetic series as files, with its true maps: `python -m datamodules.embedded.series out=DIR`.

What is drawn is said in `datamodules.embedded.dld_series`. Written are

    series.nii.gz     Hounsfield units
    patterns.nii.gz   0 outside the lungs, else the pattern's index + 1, in the order of the domain's classes
    lungs.nii.gz      0 outside, 1 the right lung, 2 the left
    dicom/            the series as DICOM files, one a slice, of nobody
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import nibabel
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from datamodules.embedded.dld_series import Series, draw_series
from stages.console.arguments import key_values
from stages.console.output import output, refuse
from stages.errors import RelayError
from stages.parameters import described, execution, group, parameters, typed

_NOBODY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
           "AccessionNumber", "ReferringPhysicianName")  # fmt: skip


def write_series(folder: Path, series: Series, name: str) -> None:
    """Write a series and its truth as NIfTI, and the series as DICOM.

    Args:
        folder: It is made; nothing may be in it.
        series: What to write.
        name: What DICOM's unique numbers are made of.

    Raises:
        RelayError: There is something in the folder.
    """
    check_empty(folder)
    dicom = folder / "dicom"
    dicom.mkdir(parents=True)
    write_nifti(folder / "series.nii.gz", series.hounsfield, series.spacing)
    write_nifti(folder / "patterns.nii.gz", series.patterns, series.spacing)
    write_nifti(folder / "lungs.nii.gz", series.lungs, series.spacing)
    for number in range(len(series.hounsfield)):
        _dicom(series, number, name).save_as(dicom / f"slice-{number + 1:04d}.dcm", enforce_file_format=True)


def check_empty(folder: Path) -> None:
    """Refuse a folder with something in it.

    Raises:
        RelayError: There is.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RelayError(f"{folder} is not empty; give another folder as out=DIR")


def write_nifti(path: Path, volume: npt.NDArray[Any], spacing: tuple[float, float, float]) -> None:
    """Write (S, H, W) as NIfTI, the first slice at the head and the first column at the patient's right.

    The file's axes are columns, rows and slices; its affine is into millimetres to the right, the front and
    the head, and its origin is that of the DICOM files.
    """
    affine = np.diag([-spacing[2], -spacing[1], -spacing[0], 1.0])
    affine[:3, 3] = _first(volume.shape, spacing) * np.array([-1.0, -1.0, 1.0])
    image = nibabel.Nifti1Image(volume.transpose(2, 1, 0), affine)  # type: ignore[no-untyped-call]
    nibabel.save(image, path)


def _first(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Place of the first voxel's centre in DICOM's millimetres (to the left, the back and the head)."""
    slices, rows, columns = shape
    place = np.array([-(columns - 1) * spacing[2], -(rows - 1) * spacing[1], (slices - 1) * spacing[0]])
    return place / 2.0


def _dicom(series: Series, number: int, name: str) -> Dataset:
    """One slice as a CT image whose patient has no name."""
    plane = series.hounsfield[number]

    def unique(*parts: str) -> str:
        return generate_uid(entropy_srcs=["relay synthetic series", name, *parts])

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = unique("instance", str(number))
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.StudyInstanceUID, data.SeriesInstanceUID = unique("study"), unique("series")
    data.FrameOfReferenceUID = unique("frame")
    for keyword in _NOBODY:
        setattr(data, keyword, "")
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer, data.SeriesDescription = "Relay", f"synthetic, {name}"
    data.SeriesNumber, data.InstanceNumber = 1, number + 1
    between, rows, columns = series.spacing
    place = _first(series.hounsfield.shape, series.spacing) - [0.0, 0.0, between * number]
    data.ImagePositionPatient = [f"{value:.6f}" for value in place]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelSpacing = [f"{rows:.8f}", f"{columns:.8f}"]
    data.SliceThickness = f"{min(1.0, between):.6f}"
    data.Rows, data.Columns = plane.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "HU"
    data.PixelData = plane.astype("<i2").tobytes()
    data["PixelData"].VR = "OW"
    return data


@group
class SeriesArguments:
    """What the command takes."""

    out: str = execution("Folder to write to; it is made, and must be empty if it is there.")
    slices: Annotated[int, Ge(1), Le(2000)] = execution("From above the lungs to below them.", default=60)
    size: Annotated[int, Ge(64), Le(2048)] = execution("Rows and columns.", unit="pixels", default=512)
    seed: Annotated[int, Ge(0)] = execution("Which patient.", default=0)


def main(arguments: Sequence[str]) -> None:
    """Write the series that the command line asks for.

    Raises:
        SystemExit: With one message, if that is not possible.
    """
    if {"-h", "--help"} & set(arguments):
        output().print("\n".join((str(__doc__), *described(SeriesArguments))), soft_wrap=True)
        return
    try:
        given = key_values(arguments, list(parameters(SeriesArguments)))
        if "out" not in given:
            raise RelayError("out is missing: python -m datamodules.embedded.series out=DIR")
        options = SeriesArguments(**typed(SeriesArguments, given))
        folder = Path(options.out).expanduser()
        check_empty(folder)  # drawing takes a while
        series = draw_series(options.slices, options.size, options.seed)
        write_series(folder, series, f"seed {options.seed}")
    except (RelayError, OSError) as error:
        refuse(error)
    output().print(f"{options.slices} slices: {options.out}", soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
