"""Writes tiny HRCT sets exactly as providers ship them: DICOM with real headers, contours, masks, slices.

Every place that can hold an identifier holds one of `IDENTIFIERS`, so that a test can search for them in what
was written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint16]
Points = Sequence[tuple[float, float]]

PATIENT_NAME = "DOE^JANE"
PATIENT_ID = "MRN448812"
STUDY_UID = "1.2.826.0.1.3680043.8.498.4711"
SERIES_UID = "1.2.826.0.1.3680043.8.498.4712"
IDENTIFIERS = (
    "DOE", "JANE", "MRN448812", "4711", "4712", "19470815", "20110203", "Osaka", "smoker", "Referrer",
    "ACC9001",
)  # fmt: skip
FOLDER = "DOE_JANE_MRN448812"
SPACING = (0.7, 0.6)  # mm between rows and between columns


def hounsfield(slices: int, shape: tuple[int, int] = (48, 40), seed: int = 7) -> npt.NDArray[np.int16]:
    """Values of lungs: int16 (slices, H, W)."""
    return np.random.default_rng(seed).integers(-1000, 400, (slices, *shape), dtype=np.int16)


def write_series(
    folder: Path,
    volume: npt.NDArray[np.int16],
    *,
    slope: float = 1.0,
    intercept: float = -1024.0,
    signed: bool = False,
    syntax: UID = ExplicitVRLittleEndian,
    step: float = 1.25,
    falling: bool = True,
    series: str = SERIES_UID,
    patient: str = PATIENT_ID,
    changes: dict[int, dict[str, Any]] | None = None,
    first_name: int = 1,
) -> list[Path]:
    """Write one DICOM file a slice, as a scanner does: from head to feet, z falling as the numbers rise.

    Args:
        folder: Where.
        volume: Hounsfield units, slice 1 first; those that the slope cannot give are rounded.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        signed: PixelRepresentation.
        syntax: How pixels are compressed.
        step: mm between slices.
        falling: Whether the position falls from slice to slice.
        series: SeriesInstanceUID.
        patient: PatientID.
        changes: Index of a slice -> tags to set, or to delete where the value is None.
        first_name: File names do not follow the order of slices; this keeps those of two series apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for index, plane in enumerate(volume):
        stored = np.rint((plane - intercept) / slope)
        data = _data_set(stored.astype(np.int16 if signed else np.uint16), signed)
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
        data.SeriesInstanceUID, data.PatientID = series, patient
        data.SOPInstanceUID = f"{series}.{index + 1}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.InstanceNumber = index + 1
        height = -step * index if falling else step * index
        data.ImagePositionPatient = [-120.5, -110.25, 300.0 + height]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing = list(SPACING)
        for tag, value in (changes or {}).get(index, {}).items():
            if value is None:
                delattr(data, tag)
            else:
                setattr(data, tag, value)
        _compress(data, stored.astype(np.int64), syntax)
        place = folder / f"CT-DOE-{(first_name + 7 * index) % 97:04d}.dcm"
        data.save_as(place, enforce_file_format=True)
        places.append(place)
    return places


def write_contours(
    location: Path, contours: Sequence[tuple[str, int, Points]], series: str = SERIES_UID, header: bool = True
) -> None:
    """Write MedGIFT's text file: label, slice (from 1) and points (x, y) in mm of each contour."""
    lines = [
        f"Patient: {PATIENT_NAME}",
        f"Study: {STUDY_UID}",
        f"Series: {series}",
        "Acquisition date: 20110203",
    ]
    if header:
        lines += [f"SpacingX: {SPACING[1]}", f"SpacingY: {SPACING[0]}", "SpacingZ: 1.25"]
    for label, number, points in contours:
        lines += [f"label: {label}", f"slice_number: {number}", f"nb_points_on_contour: {len(points)}"]
        lines += [f"{x:.4f} {y:.4f}" for x, y in points]
    location.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")


def rectangle(top: int, left: int, height: int, width: int) -> Points:
    """Corners in mm, (x, y), of a rectangle in pixels."""
    rows, columns = SPACING
    return [
        (left * columns, top * rows),
        ((left + width) * columns, top * rows),
        ((left + width) * columns, (top + height) * rows),
        (left * columns, (top + height) * rows),
    ]


def write_tiff(location: Path, values: npt.NDArray[np.int16]) -> None:
    """Write a 16-bit signed TIFF."""
    image = Image.fromarray(values.view(np.uint16))
    image.save(location, tiffinfo={339: 2})


def write_pairs(folder: Path, images: Sequence[Image.Image], masks: Sequence[npt.NDArray[np.uint8]]) -> None:
    """Write slices `Imgs/N.png` and palette masks `GT/N.png`, N from 1 without leading zeros."""
    (folder / "Imgs").mkdir(parents=True)
    (folder / "GT").mkdir()
    for number, (image, mask) in enumerate(zip(images, masks, strict=True), start=1):
        image.save(folder / "Imgs" / f"{number}.png")
        palette = Image.fromarray(mask).convert("L")
        palette = palette.convert("P")
        palette.putdata(mask.ravel().tolist())
        palette.putpalette([0, 0, 0, 0, 255, 0, 255, 0, 0])
        palette.save(folder / "GT" / f"{number}.png")


def lossless_jpeg(values: npt.NDArray[np.int64]) -> bytes:
    """Encode (H, W) of 16 bits by JPEG's process 14 with selection value 1 (ITU-T T.81, annex H).

    Most scanners write this, and none of pydicom's plugins can. Differences to the left neighbour are coded
    in 17 categories; all have codes of five bits.
    """
    height, width = values.shape
    unsigned = (values & 0xFFFF).astype(np.int64)
    before = np.empty_like(unsigned)
    before[:, 1:] = unsigned[:, :-1]
    before[1:, 0] = unsigned[:-1, 0]
    before[0, 0] = 1 << 15
    bits = []
    for difference in ((unsigned - before + 0x8000) % 0x10000 - 0x8000).ravel().tolist():
        category = 16 if difference == -0x8000 else abs(difference).bit_length()
        bits.append(f"{category:05b}")
        if 0 < category < 16:
            amplitude = difference if difference > 0 else difference + (1 << category) - 1
            bits.append(f"{amplitude:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = bytes(int(text[place : place + 8], 2) for place in range(0, len(text), 8)).replace(
        b"\xff", b"\xff\x00"
    )
    size: bytes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    frame: bytes = b"\xff\xc3\x00\x0b\x10" + size + b"\x01\x01\x11\x00"
    table: bytes = b"\xff\xc4\x00\x24\x00" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    return b"\xff\xd8" + frame + table + b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00" + scan + b"\xff\xd9"


def _data_set(stored: Pixels, signed: bool) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.Modality = "CT"
    data.PatientName, data.PatientBirthDate, data.PatientSex = PATIENT_NAME, "19470815", "F"
    data.StudyInstanceUID, data.StudyDate, data.AccessionNumber = STUDY_UID, "20110203", "ACC9001"
    data.InstitutionName, data.ReferringPhysicianName = "Osaka General", "Referrer^Ann"
    data.StudyDescription = "HRCT of Jane Doe, smoker"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(signed)
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    return data


def _compress(data: Dataset, stored: npt.NDArray[np.int64], syntax: UID) -> None:
    if syntax == JPEGLosslessSV1:
        data.PixelData = encapsulate([lossless_jpeg(stored)])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = syntax
    elif syntax != ExplicitVRLittleEndian:
        plugin = "pydicom" if syntax == RLELossless else "pylibjpeg"
        data.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
