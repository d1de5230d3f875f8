"""Writes regions as hospitals keep them: structure sets, segmentations and NIfTI masks beside a CT series.

Places in millimetres are computed here from DICOM's equation (PS3.3, C.7.6.2.1.1), apart from the reader.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
from highdicom import AlgorithmIdentificationSequence, Volume
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from datamodules.packing.units import Survey
from datamodules.readers.hrct.unit import SeriesUnit
from tests.helpers.fake_hrct import PATIENT_NAME, SERIES_UID, SPACING, STUDY_UID, write_series

FRAME_UID = "1.2.826.0.1.3680043.8.498.4713"
STEP = 2.5
Loop = Sequence[tuple[float, float]]
TAGS: Mapping[str, Any] = {
    "FrameOfReferenceUID": FRAME_UID, "StudyTime": "", "StudyID": "", "SeriesNumber": 1,
    "PositionReferenceIndicator": "", "SliceThickness": STEP,
}  # fmt: skip
"""What segmentations ask of the slices that they are made from."""


def _turned(degrees: float) -> tuple[float, ...]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (1.0, 0.0, 0.0, 0.0, float(cosine), float(sine))


ORIENTATIONS: Mapping[str, tuple[float, ...]] = {
    "as usual": (1, 0, 0, 0, 1, 0),
    "rows flipped": (1, 0, 0, 0, -1, 0),
    "columns flipped": (-1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "a quarter turn": (0, 1, 0, -1, 0, 0),
    "tilted": _turned(15),
}
"""ImageOrientationPatient by name."""


@dataclass(frozen=True)
class Scan:
    """A CT series on disk.

    Attributes:
        files: Slice 1 first.
        affine: (column, row, slice, 1) -> mm in DICOM's coordinates, (4, 4).
    """

    files: tuple[Path, ...]
    affine: npt.NDArray[np.float64]

    def points(self, loop: Loop, place: float) -> npt.NDArray[np.float64]:
        """Pixels (row, column) of a slice, from 0, in mm, (N, 3)."""
        return np.array([(self.affine @ (column, row, place, 1))[:3] for row, column in loop])

    @classmethod
    def of(cls, files: Sequence[Path]) -> "Scan":
        """A series that is there, and has the tags that segmentations need."""
        first, second = (pydicom.dcmread(file) for file in files[:2])
        affine = np.eye(4)
        affine[:3, 0] = np.array(first.ImageOrientationPatient[:3]) * first.PixelSpacing[1]
        affine[:3, 1] = np.array(first.ImageOrientationPatient[3:]) * first.PixelSpacing[0]
        affine[:3, 3] = first.ImagePositionPatient
        affine[:3, 2] = np.array(second.ImagePositionPatient) - affine[:3, 3]
        return cls(tuple(files), affine)

    @property
    def headers(self) -> list[Dataset]:
        return [pydicom.dcmread(file) for file in self.files]


def write_scan(
    folder: Path,
    volume: npt.NDArray[np.int16],
    orientation: Sequence[float] = ORIENTATIONS["as usual"],
    *,
    falling: bool = True,
    **changes: Any,
) -> Scan:
    """Write a series whose slices lie along the normal of their orientation, `STEP` mm apart."""
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(across, down) * (-1 if falling else 1)
    origin = np.array([-120.5, -110.25, 300.0])
    positions = [origin + place * STEP * normal for place in range(len(volume))]
    series = changes.get("series", SERIES_UID)
    files = write_series(
        folder,
        volume,
        signed=True,
        intercept=0.0,
        changes={
            place: {
                "ImageOrientationPatient": [float(value) for value in orientation],
                "ImagePositionPatient": [round(float(value), 6) for value in position],
                "SOPInstanceUID": f"{series}.{place + 1}",
                **TAGS,
            }
            for place, position in enumerate(positions)
        },
        **changes,
    )  # fmt: skip
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * SPACING[1], down * SPACING[0]
    affine[:3, 2], affine[:3, 3] = normal * STEP, origin
    return Scan(tuple(files), affine)


def write_structures(
    place: Path,
    scan: Scan,
    regions: Sequence[tuple[str, int, Loop]],
    *,
    named: bool = True,
    kinds: Mapping[int, str] | None = None,
    **references: str,
) -> None:
    """Write a structure set.

    Args:
        place: Its file.
        scan: What it is drawn on.
        regions: Name, index of the slice (a fraction lies between two) and outline (row, column) of each.
        named: Whether contours name their slices.
        kinds: Index of a contour -> its type, where that is not CLOSED_PLANAR.
        references: `series` and `frame`, where others than the scan's are named; empty: none.
    """
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = RTStructureSetStorage
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.47140"
    data.Modality, data.PatientName, data.StudyInstanceUID = "RTSTRUCT", PATIENT_NAME, STUDY_UID
    series = references.get("series", str(scan.headers[0].SeriesInstanceUID))
    frame = references.get("frame", FRAME_UID)
    data.StructureSetLabel = "of Jane Doe"
    if frame:
        data.ReferencedFrameOfReferenceSequence = [
            _item(
                FrameOfReferenceUID=frame,
                RTReferencedStudySequence=[
                    _item(RTReferencedSeriesSequence=[_item(SeriesInstanceUID=series)] if series else [])
                ],
            )
        ]
    names = list(dict.fromkeys(name for name, _, _ in regions))
    data.StructureSetROISequence = [
        _item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=frame)
        for number, name in enumerate(names, start=1)
    ]
    data.ROIContourSequence = []
    for number, name in enumerate(names, start=1):
        contours = []
        for index, (whose, slice_index, loop) in enumerate(regions):
            if whose != name:
                continue
            points = scan.points(loop, slice_index)
            contour = _item(
                ContourGeometricType=(kinds or {}).get(index, "CLOSED_PLANAR"),
                NumberOfContourPoints=len(loop),
                ContourData=[f"{value:.4f}" for value in points.ravel()],
            )
            if named:
                instance = str(scan.headers[slice_index].SOPInstanceUID)
                contour.ContourImageSequence = [_item(ReferencedSOPInstanceUID=instance)]
            contours.append(contour)
        data.ROIContourSequence.append(_item(ReferencedROINumber=number, ContourSequence=contours))
    place.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(place, enforce_file_format=True)


def write_segments(
    place: Path,
    scan: Scan,
    mask: npt.NDArray[Any],
    names: Sequence[str],
    kind: str = "BINARY",
    volume: Volume | None = None,
) -> None:
    """Write a segmentation by highdicom.

    Args:
        place: Its file.
        scan: What it is drawn on.
        mask: (slices, H, W) of numbers of segments, or (slices, H, W, segments).
        names: Label of each segment.
        kind: BINARY, FRACTIONAL or LABELMAP.
        volume: The mask as a volume of another orientation, taken instead.
    """
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type="AUTOMATIC",
            algorithm_identification=AlgorithmIdentificationSequence(
                name="t", version="1", family=codes.DCM.ArtificialIntelligence
            ),
        )
        for number, name in enumerate(names, start=1)
    ]
    place.parent.mkdir(parents=True, exist_ok=True)
    Segmentation(
        source_images=scan.headers,
        pixel_array=mask if volume is None else volume,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid="1.2.826.0.1.3680043.8.498.47150",
        series_number=9,
        sop_instance_uid="1.2.826.0.1.3680043.8.498.47151",
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
    ).save_as(place)


def write_nifti(
    place: Path, values: npt.NDArray[Any], affine: npt.NDArray[np.float64], codes: str | None = None
) -> None:
    """Write (slices, H, W) as NIfTI.

    Args:
        place: Its file.
        values: The values.
        affine: (column, row, slice, 1) -> mm in DICOM's coordinates, (4, 4).
        codes: Order and direction of the axes in the file, such as RAS; None: column, row, slice.
    """
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), to_ras)
    if codes is not None:
        start = nibabel.io_orientation(to_ras)
        turn = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(tuple(codes)))
        image = image.as_reoriented(turn)
    place.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, place)


def drawn_masks(found: Survey) -> dict[int, npt.NDArray[np.uint8]]:
    """Number of a slice -> labels that the reader draws on it, counted from 1 in the order of the classes."""
    (unit,) = found.units
    assert isinstance(unit, SeriesUnit)
    labels = {name: place for place, name in enumerate(unit.classes, start=1)}
    return {one.number: one.regions.draw(unit.shape, labels).labels for one in unit.slices}


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    for tag, value in tags.items():
        setattr(item, tag, value)
    return item
