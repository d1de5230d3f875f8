"""The pattern map as a DICOM segmentation (SEG; PS3.3, A.51) that refers to the instances of its series.

One binary segment a pattern, on the pixels of the series' own slices: what viewers and archives read. What is
uncertain is in its pattern's segment, as in `pattern.nii.gz`: a segment of its own would lie on the
others, which some viewers refuse.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.colours import pattern_colours
from analysis.prediction.series.pattern_codes import segment_codes
from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans.dicom import numbers, read_dicom, silent
from stages.machine.atomic import atomic_file

SEGMENTATION = "pattern.dcm"

_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName")
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_PLACE: Mapping[str, int] = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_DATES = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")
_TAGS = (
    *_PATIENT, *_STUDY, *_NEEDED, *_PLACE, *_DATES, "SpecificCharacterSet", "FrameOfReferenceUID", "Rows",
    "Columns", "SliceThickness", "SpacingBetweenSlices", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
_SERIES_NUMBER = 9900  # above those that scanners give, so that the map stands behind their series
_LONG, _SHORT = 64, 16  # characters of a long and a short text (PS3.5, 6.2)


@dataclass(frozen=True)
class Maker:
    """What made a map, as a segmentation names it.

    Attributes:
        chain: The stages of the networks, as in `natural > texture > dld`.
        version: Relay's.
        finished: The day on which the last of the networks was, YYYYMMDD.
        parameters: Names and values that decide the map: networks, stride.
    """

    chain: str
    version: str
    finished: str
    parameters: Mapping[str, str]


def write_segmentation(
    path: Path,
    files: Sequence[str],
    patterns: npt.NDArray[np.uint8],
    classes: Sequence[str],
    maker: Maker,
) -> str:
    """Write the segmentation of a DICOM series, the same bytes each time.

    Its UIDs are made of its content. Its date is the latest that its input has, of the series or the
    networks, and no date of today: equal maps are equal objects for an archive.

    Args:
        path: Of the file to write.
        files: Of the series' slices, in the order of the map's.
        patterns: (S, H, W): 0 outside, else the place of the class, from 1, on the pixels of the files.
        classes: The patterns' names.
        maker: What made the map.

    Returns:
        Why there is none, in words that identify nobody; empty if it was written.
    """
    if not patterns.any():
        return "no patch was in the lungs"
    try:
        slices = [_header(file) for file in files]
        _fill_thickness(slices)
        with silent():
            document = _segmentation(slices, patterns, classes, maker)
            with atomic_file(path) as file:
                document.save_as(file, enforce_file_format=True)
    except UnusableError as error:
        return f"of a slice, {error}"
    except OSError:
        raise
    except Exception as error:  # highdicom checks what the series says, and quotes it
        return f"the series lacks or breaks what the standard asks for ({type(error).__name__})"
    return ""


def _header(location: str) -> Any:
    """What a segmentation takes from a slice: the patient, the study and where it lies; and no more."""
    from pydicom import Dataset

    found = read_dicom(location, _TAGS, stop_before_pixels=True)
    data = Dataset()
    with silent():
        for tag in _NEEDED:
            if not found.get(tag):
                raise UnusableError(f"the header lacks {tag}, by which a segmentation refers to it")
            setattr(data, tag, str(found[tag].value))
        for tag, count in _PLACE.items():
            values = numbers(found.get(tag), count)
            if values is None:
                raise UnusableError(f"the header lacks {tag}, by which a segmentation is laid on it")
            setattr(data, tag, [float(f"{value:.10g}") for value in values])
        for tag in (*_PATIENT, *_STUDY):
            setattr(data, tag, _text(found, tag))
        (data.SliceThickness,) = numbers(found.get("SliceThickness"), 1) or (None,)
        if (step := numbers(found.get("SpacingBetweenSlices"), 1)) is not None:
            data.SpacingBetweenSlices = step[0]
        for tag in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if tag in found:
                data.add(found[tag])
        data.Modality, data.Rows, data.Columns = "CT", int(found.Rows), int(found.Columns)
        # Slices of one series without it lie in one frame of reference all the same.
        data.FrameOfReferenceUID = str(found.get("FrameOfReferenceUID") or "") or _uid(
            "frame of reference", data.SeriesInstanceUID
        )
        data.ContentDate = max((_text(found, tag) for tag in _DATES), default="")
    return data


def _fill_thickness(slices: Sequence[Any]) -> None:
    """Where a slice does not say its thickness, which readers of segmentations ask for: the usual step.

    Raises:
        UnusableError: It is the only slice.
    """
    missing = [each for each in slices if each.SliceThickness is None]
    if missing and len(slices) == 1:
        raise UnusableError("the header lacks SliceThickness, and there is no other slice to tell it")
    places = np.array([each.ImagePositionPatient for each in slices], np.float64)
    for each in missing:
        each.SliceThickness = float(np.median(np.linalg.norm(np.diff(places, axis=0), axis=1)))


def _text(found: Any, tag: str) -> str:
    """A value that may be empty (type 2), and is where it breaks the standard's rules for its kind."""
    from pydicom.valuerep import DA, TM

    kinds = {"Date": DA, "Time": TM}
    try:
        text = str(found.get(tag) or "")
        if kind := kinds.get(tag[-4:]):
            kind(text)
    except ValueError:
        return ""
    return text if tag != "PatientSex" or text in ("M", "F", "O") else ""


def _segmentation(
    slices: Sequence[Any], patterns: npt.NDArray[np.uint8], classes: Sequence[str], maker: Maker
) -> Any:
    """The data set.

    Raises:
        Exception: What the series says is against the standard; the message may quote it.
    """
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(
        name=f"Relay: {maker.chain}"[:_LONG],
        family=codes.DCM.ArtificialIntelligence,
        version=maker.version[:_LONG],
        parameters=dict(maker.parameters),
    )
    described = []
    colours = pattern_colours(len(classes))
    for number, (name, colour) in enumerate(zip(classes, colours, strict=True), start=1):
        category, kind = segment_codes(name)
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=name[:_LONG],
                segmented_property_category=category,
                segmented_property_type=kind,
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
                anatomic_regions=[codes.SCT.Lung],
                display_color=CIELabColor.from_rgb(*colour),
            )
        )
    content = _digest(slices, patterns, classes, maker)
    document = Segmentation(
        source_images=list(slices),
        pixel_array=patterns,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=_uid("series", content),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=_uid("instance", content),
        instance_number=1,
        manufacturer="Relay",
        manufacturer_model_name="predict.py",
        software_versions=maker.version[:_LONG],
        device_serial_number=content[:_SHORT],
        series_description="Lung patterns (Relay, research only)",
        content_label="LUNG_PATTERNS",
        content_description="Most probable pattern of each pixel of the lungs",
        content_date=max(maker.finished, *(each.ContentDate for each in slices)),
        content_time="000000",
        specific_character_set="ISO_IR 192",
    )
    del document.InstanceCreationDate, document.InstanceCreationTime  # of today, and optional
    for item in document.ContributingEquipmentSequence:
        item.pop("ContributionDateTime", None)
    dimensions = _uid("dimensions", content)
    for item in (*document.DimensionOrganizationSequence, *document.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    return document


def _digest(
    slices: Sequence[Any], patterns: npt.NDArray[np.uint8], classes: Sequence[str], maker: Maker
) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(patterns).data)
    told = [[each.SOPInstanceUID for each in slices], list(classes), patterns.shape, maker]
    digest.update(repr(told).encode())
    return digest.hexdigest()


def _uid(what: str, content: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["relay", what, content]))
