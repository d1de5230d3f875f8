"""What a user should know of a source of slices, beside what is refused or left out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from datamodules.readers.hrct.regions.carriers import Outlines
from datamodules.readers.hrct.regions.drawn import Grouped
from datamodules.readers.hrct.scans.header import Mark
from datamodules.readers.hrct.sources.groups import is_alone
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.series import name_numbers

_MARKS: Mapping[Mark, str] = {
    "burned in": "slices say that text is burned into their pixels (BurnedInAnnotation): it can name a "
    "patient, and networks learn from it",
    "overlay": "slices have overlays (groups 60xx), which are not drawn into their pixels",
    "projection": "slices are projections or averages of several (ImageType)",
    "unit": "slices leave the unit of their values open (RescaleType US); they are taken as Hounsfield units",
    "lossy": "slices were compressed with loss, which changes noise and fine texture",
    "capture": "slices are secondary captures with all the tags of CT, and are taken as CT",
}


def notes_on_source(
    grouped: Sequence[Grouped], passed_over: Mapping[str, int], options: HrctOptions
) -> list[str]:
    """Sentences on all series, before those without regions are left out.

    Args:
        grouped: The series.
        passed_over: What the other DICOM files are -> how many.
        options: How the source is read.
    """
    notes = []
    ignored: Counter[str] = Counter()
    for _, drawn, _ in grouped:
        ignored.update(drawn.ignored)
    if ignored:
        listed = ", ".join(f"{label} ({count})" for label, count in sorted(ignored.items()))
        notes.append(f"Regions that class_map leaves out: {listed}.")
    others: Counter[str] = Counter()
    for _, drawn, _ in grouped:
        others.update(drawn.notes)
    notes += [f"{count} {what}." for what, count in others.items()]
    if passed_over:
        notes.append(
            f"{sum(passed_over.values())} DICOM files hold no image, or a localizer, screenshot or image "
            f"of another modality, and are passed over: {listed_kinds(passed_over)}."
        )
    eight_bit = sum(one.scan.eight_bit for one, _, _ in grouped)
    if eight_bit:
        notes.append(
            f"{eight_bit} series of 8-bit slices: grey values as they come, no Hounsfield units; window is "
            "not used."
        )
    alone = sum(is_alone(one, group) for one, _, group in grouped)
    if alone:
        notes.append(
            f"{alone} slices or volumes do not name a patient: each is a group of its own, and nothing keeps "
            "those of one patient on one side of a split. Name patients in a file and set groups to it."
        )
    return [*notes, *_on_patients(grouped, options)]


def listed_kinds(kinds: Mapping[str, int]) -> str:
    """How many of each kind: `2 localizers, 1 objects of SR`."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _on_patients(grouped: Sequence[Grouped], options: HrctOptions) -> Iterator[str]:
    tops = {one.folder.patient for one, _, _ in grouped}
    paths = {one.folder.path for one, _, _ in grouped}
    if len(paths) > len(tops) == 1 and tops == {group for _, _, group in grouped}:
        yield (
            "All series are taken as one patient's, since all are below one folder and no file names a "
            "patient; if that folder holds patients, set source to it."
        )
    folders: dict[str, set[str]] = {one.folder.patient: set() for one, _, _ in grouped}
    for one, _, group in grouped:
        folders[one.folder.patient].add(group)
    if options.patient != "tag":
        return
    if len(folders) > 1 and len({group for _, _, group in grouped}) == 1:
        yield (
            f"All files name the same patient, in {len(folders)} folders; where this is a placeholder, set "
            "patient=folder."
        )
    untagged = sum(
        one.dicom and not one.scan.patient and group in (one.folder.patient, "source")
        for one, _, group in grouped
    )
    if untagged:
        yield f"{untagged} series have no PatientID: the folder that they are in counts as their patient."
    mixed = sum(len(of) > 1 for folder, of in folders.items() if folder)
    if mixed and len(folders) > 1:
        yield (
            f"{mixed} of {len(folders)} patients' folders hold series of several PatientIDs, each taken as a "
            "patient; if a folder is one patient, set patient=folder."
        )


def notes_on_marks(marks: Mapping[Mark, int]) -> Iterator[str]:
    """Sentences on what is odd about slices that can be used: oddity -> how many have it."""
    for mark, count in sorted(marks.items()):
        yield f"{count} {_MARKS[mark]}."


def notes_on_drawn(usable: Sequence[Grouped]) -> Iterator[str]:
    """Sentences on the series that patches are cut from."""
    broken = [
        one
        for one, drawn, _ in usable
        if drawn.slices and not one.in_volume and (one.scan.holes or one.unnumbered)
    ]
    if broken:
        yield (
            f"{len(broken)} series lack slices or have no known order (the first is {broken[0].title}: "
            f"{(broken[0].scan.holes or broken[0].unnumbered).partition(';')[0]}); their regions name slices "
            "by file, so that nothing shifts."
        )
    by_name = sum(
        any(isinstance(regions, Outlines) for regions in drawn.slices.values())
        and not one.dicom
        and not one.in_volume
        and len(one.files) > 1
        and name_numbers([file.stem for file in one.files]) is None
        for one, drawn, _ in usable
    )
    if by_name:
        yield f"The slices of {by_name} series have no numbers in their names: slice 1 is the first by name."
    marks = Counter[Mark]()
    for one, _, _ in usable:
        marks.update(one.scan.marks)
    yield from notes_on_marks(marks)
    kernels = frozenset[str]().union(*(one.scan.kernels for one, _, _ in usable))
    if len(kernels) > 1:
        yield (
            f"The {len(usable)} series with regions have {len(kernels)} reconstruction kernels "
            "(ConvolutionKernel), which a network can tell apart: see that no class has one of its own."
        )
