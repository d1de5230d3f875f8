"""The reader of HRCT of the lungs: series of slices with regions, cut into patches.

Layouts are those of `sources.folders`. One unit is one series, or one slice where each slice is of a patient
of its own. What messages call "folder 3" is the third folder with slices in the order of their paths, "slice
5" the fifth from the series' first end, so that no name has to be printed: names of files and folders can be
names of patients.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datamodules.faults import Faults, OnError
from datamodules.files.groups import Groups, read_groups
from datamodules.packing.reader import Reader
from datamodules.packing.units import Survey
from datamodules.readers.hrct.acquisition import acquisition_of
from datamodules.readers.hrct.classes import compare_with_paper
from datamodules.readers.hrct.notes import listed_kinds, notes_on_drawn, notes_on_source
from datamodules.readers.hrct.regions.drawn import Drawn, Grouped
from datamodules.readers.hrct.regions.find import find_regions
from datamodules.readers.hrct.regions.palettes import check_palettes
from datamodules.readers.hrct.sources.folders import find_slice_folders
from datamodules.readers.hrct.sources.groups import group_of, join_spellings, notes_on_groups, patient_tags
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.series import Series, find_series
from datamodules.readers.hrct.sources.source_file import SourceFile
from datamodules.readers.hrct.unit import DrawnSlice, SeriesUnit, WholeSlice
from stages.console.words import counted
from stages.errors import RelayError

READER_VERSION = 3  # part of the set's identity; raise it when the patches change


def survey(source: Path, options: HrctOptions, on_error: OnError) -> Survey:
    """List a source of HRCT slices with regions, reading headers and outlines but no pixels.

    Args:
        source: Its folder.
        options: How patches are cut.
        on_error: Whether what cannot be used ends the survey, or is left out and listed.

    Returns:
        The units are series with regions; a unit's samples are patches, int16 in Hounsfield units, or uint8
        from 8-bit images, which hold none.

    Raises:
        RelayError: An option cannot be followed, there is nothing to cut, some slices have Hounsfield units
            and some not, or something cannot be used and `on_error` is `raise`.
    """
    faults = Faults(on_error)
    files = find_slice_folders(source.expanduser(), faults)
    not_read = [f"{counted(count, 'file')} of {kind}" for kind, count in files.foreign.items()]
    if not files.folders:
        faults.settle()
        raise RelayError(
            "source has no slices; expected PATIENT/... with DICOM files, image slices or NIfTI, or images "
            "and masks." + "".join(f" Not read: {one}." for one in not_read)
        )
    class_map = options.plain_class_map()
    given = Groups({}) if options.groups is None else read_groups(options.groups)
    groups = given.of
    listed = [(folder, find_series(folder, options, faults)) for folder in files.folders]
    passed_over = sum((Counter(found.passed_over) for _, found in listed), Counter[str]())
    series = find_regions(listed, files.masks, options, faults)
    notes = [*given.notes, *notes_on_groups([one for one, _ in series], groups)]
    grouped = _grouped(series, groups, faults, notes)
    notes += notes_on_source(grouped, passed_over, options)
    usable = _with_regions(grouped, options, faults, notes, not_read)
    notes += [f"Not read: {one}." for one in not_read]
    faults.settle()
    if not usable:
        raise RelayError(
            f"source has {len(series)} series that can be read, and no region of a class on any of them; see "
            "docs/preparing.md for the regions that are read."
            + (f" Passed over: {listed_kinds(passed_over)}." if passed_over else "")
        )
    _check_depths(usable)
    notes += check_palettes(usable)
    notes += notes_on_drawn(usable)
    classes = tuple(sorted(set[str]().union(*(drawn.classes for _, drawn, _ in usable))))
    units = tuple(
        _unit(number, one, drawn, group, classes, options)
        for number, (one, drawn, group) in enumerate(usable, start=1)
    )
    return Survey(
        domain=READER.domain,
        classes=classes,
        units=units,
        problems=tuple(faults.problems),
        notes=(*notes, *faults.notes),
        settings=_settings(options, class_map, usable[0][0].scan.eight_bit),
        secret=files.secret + "".join(f"\n{path}\t{group}" for path, group in sorted(groups.items())),
        wholes=tuple(WholeSlice(unit, place) for unit in units for place in range(len(unit.slices))),
        window=options.window,
        acquisition=acquisition_of(usable, options),
    )


def _grouped(
    series: Sequence[tuple[Series, Drawn]], groups: Mapping[str, str], faults: Faults, notes: list[str]
) -> list[Grouped]:
    """The series whose patient is known, with it."""
    known: list[Grouped] = []
    tags = patient_tags([one for one, _ in series])
    for one, drawn in series:
        group = group_of(one, groups, tags)
        if group is None:
            faults.add(
                one.title,
                "it has no PatientID, and beside it lie series of several patients; name its patient in a "
                "file and set groups to it, or set patient=folder",
            )
        else:
            known.append((one, drawn, group))
    joined = join_spellings([(one, group) for one, _, group in known], notes)
    return [(one, drawn, group) for (one, drawn, _), group in zip(known, joined, strict=True)]


def _with_regions(
    grouped: list[Grouped], options: HrctOptions, faults: Faults, notes: list[str], not_read: Sequence[str]
) -> list[Grouped]:
    """Keep the series that patches can be cut from; a patient without any region is a fault."""
    with_regions = {group for _, drawn, group in grouped if drawn.slices or drawn.ignored}
    bare = 0
    usable: list[Grouped] = []
    for one, drawn, group in grouped:
        if drawn.slices:
            if options.mm_per_pixel is not None and one.scan.spacing is None:
                why = "it has no pixel spacing, which resampling needs; set spacing, or mm_per_pixel=null"
                faults.add(one.title, why)
            else:
                usable.append((one, drawn, group))
        elif drawn.ignored:
            faults.left_out(one.title, "all its regions have labels that class_map leaves out")
        elif group in with_regions:
            bare += 1
        elif not (drawn.kind or one.folder.independent):  # otherwise what is wrong is said already
            beside = "".join(f"; not read: {found}" for found in not_read)
            if one.in_volume:
                beside += "; a NIfTI mask says what it is in its name, such as ct_mask.nii.gz for ct.nii.gz"
            cure = beside or "; docs/preparing.md says where regions are looked for, such as a folder masks"
            faults.add(one.title, f"its patient has no region, and so no class{cure}")
    if bare:
        notes.append(
            f"{bare} series without regions are left out; their patients have regions in another series."
        )
    return usable


def _check_depths(usable: list[Grouped]) -> None:
    eight_bit = sum(one.scan.eight_bit for one, _, _ in usable)
    if 0 < eight_bit < len(usable):
        raise RelayError(
            f"source has {eight_bit} series of 8-bit slices, without Hounsfield units, beside "
            f"{len(usable) - eight_bit} with them; prepare them as two sets."
        )


def _unit(
    number: int, one: Series, drawn: Drawn, group: str, classes: tuple[str, ...], options: HrctOptions
) -> SeriesUnit:
    slices = tuple(
        DrawnSlice(
            place + one.first,
            one.slice_title(place + one.first),
            one.scan.slices[place],
            drawn.slices[place],
        )
        for place in sorted(drawn.slices)
    )
    return SeriesUnit(
        key=f"series-{number:05d}",
        fingerprint=_fingerprint((*dict.fromkeys(one.files), *drawn.files)),
        title=one.title,
        group=group,
        side=one.side,
        shape=one.scan.shape,
        spacing=one.scan.spacing,
        classes=classes,
        slices=slices,
        options=options,
    )


def _fingerprint(files: Iterable[SourceFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.size} {file.modified}\n".encode())
    return digest.hexdigest()


def _settings(options: HrctOptions, class_map: dict[str, str | None], eight_bit: bool) -> dict[str, object]:
    labels = options.mask_classes()
    return {
        "reader_version": READER_VERSION,
        "size": options.size,
        "stride": options.stride,
        "coverage": options.coverage,
        "mm_per_pixel": options.mm_per_pixel,
        "spacing": None if options.spacing is None else list(options.spacing),
        "window": None if eight_bit else list(options.window),
        "class_map": dict(sorted(class_map.items())),
        "labels": {str(value): labels[value] for value in sorted(labels)},
        "patient": options.patient,
        "slice_order": options.slice_order,
        "unsigned_offset": options.unsigned_offset,
    }


READER = Reader(
    domain="dld",
    title="HRCT slices (DICOM, NIfTI, TIFF, PNG) with outlined regions, cut into patches",
    options=HrctOptions,
    survey=survey,
    usual=True,
    notes_on_counts=compare_with_paper,
)
