"""Which series of a source is meant: the only one, or the one that was chosen by its number."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from datamodules.faults import Faults
from datamodules.readers.hrct.notes import listed_kinds
from datamodules.readers.hrct.scans.find import read_scans
from datamodules.readers.hrct.scans.scan import Scan
from datamodules.readers.hrct.sources.beside import says_mask
from stages.errors import RelayError

_WANTED = (
    "A series is a folder of DICOM files, a NIfTI file, or a folder of 16-bit or 8-bit slices (PNG, TIFF)."
)
_MOST_NAMED = 20


def choose_scan(
    source: Path, number: int | None, spacing: tuple[float, float] | None, unsigned_offset: int | None
) -> tuple[Scan, tuple[str, ...]]:
    """Find the series of a source.

    Args:
        source: A file or folder.
        number: Which series, from 1, where there are several.
        spacing: See `read_scans`.
        unsigned_offset: See `read_scans`.

    Returns:
        The series, and sentences on what else lies there.

    Raises:
        RelayError: There is none, there are several and none was chosen, or it cannot be used.
    """
    if not source.exists():
        raise RelayError(f"source={source} is not there. {_WANTED}")
    faults = Faults("raise")
    found = read_scans(source, faults, spacing=spacing, unsigned_offset=unsigned_offset)
    wrong = [f"{problem.what}: {problem.why}." for problem in faults.problems]
    scans, masks = _without_masks(found.scans)
    passed_over = f"Passed over: {listed_kinds(found.passed_over)}." if found.passed_over else ""
    if not scans:
        raise RelayError(f"source={source} holds no series of CT. {_first(wrong) or passed_over or _WANTED}")
    # A file that cannot be read may be a slice of any series.
    if unread := [text for text in wrong if text.startswith(("file ", "DICOM file "))]:
        raise RelayError(f"source={source}: {_first(unread)}")
    if number is not None and not 1 <= number <= len(scans):
        raise RelayError(f"series={number}: source={source} holds {_listed(scans, source)}")
    if number is None and len(scans) > 1:
        raise RelayError(
            f"source={source} holds {_listed(scans, source)} Choose one, such as series=1, or give its "
            "folder or file."
        )
    notes = [*(f"Not used: {text}" for text in wrong), *([passed_over] if passed_over else [])]
    if masks:
        notes.append(f"{masks} NIfTI files are masks by their names; give one with mask=FILE to use it.")
    return scans[(number or 1) - 1], tuple(notes)


def stem(location: str) -> str:
    """The name of a file without folder and suffix."""
    name = Path(location).name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(name).stem


def _without_masks(scans: Sequence[Scan]) -> tuple[list[Scan], int]:
    """The series without NIfTI files that say that they are masks, where others are there; how many did."""
    kept = [scan for scan in scans if scan.kind != "NIfTI" or not says_mask(stem(scan.slices[0].location))]
    return (kept, len(scans) - len(kept)) if kept else (list(scans), 0)


def _first(wrong: Sequence[str]) -> str:
    more = f" {len(wrong) - 1} more cannot be used either." if len(wrong) > 1 else ""
    return f"{wrong[0]}{more}" if wrong else ""


def _listed(scans: Sequence[Scan], source: Path) -> str:
    more = f" and {len(scans) - _MOST_NAMED} more" if len(scans) > _MOST_NAMED else ""
    return f"{len(scans)} series: {'; '.join(_lines(scans[:_MOST_NAMED], source))}{more}."


def _lines(scans: Sequence[Scan], source: Path) -> Iterator[str]:
    """A line for each series: a NIfTI file by its name, others that read alike by their first file's."""
    lines = [_line(scan) for scan in scans]
    for number, (scan, line) in enumerate(zip(scans, lines, strict=True), start=1):
        file = os.path.relpath(scan.slices[0].location, source)
        named = f", {file}" if scan.kind == "NIfTI" else f", first file {file}"
        yield f"{number}: {line}{named if scan.kind == 'NIfTI' or lines.count(line) > 1 else ''}"


def _line(scan: Scan) -> str:
    thickness = " or ".join(f"{one:g}" for one in sorted(scan.thickness))
    return ", ".join(
        (
            f"{scan.kind}, {len(scan.slices)} slices of {scan.shape[0]} x {scan.shape[1]}",
            *([f"{thickness} mm thick"] if thickness else []),
            *([f"kernel {' or '.join(sorted(scan.kernels))}"] if scan.kernels else []),
        )
    )
