"""Which patient a series shows: by its tag, its folder, or a file of the user's."""

from collections.abc import Iterator, Mapping, Sequence

from datamodules.readers.hrct.series import Series
from stages.errors import RelayError


def patient_tags(series: Sequence[Series]) -> dict[str, set[str]]:
    """PatientIDs by patient's folder."""
    tags: dict[str, set[str]] = {one.folder.patient: set() for one in series}
    for one in series:
        if one.dicom and one.patient != one.folder.patient:
            tags[one.folder.patient].add(one.patient)
    return tags


def group_of(one: Series, groups: Mapping[str, str], tags: Mapping[str, set[str]]) -> str | None:
    """Who a series shows; None where that is not known.

    One without a PatientID is of the patient that the others of its folder name: a patient whose tag is
    missing in some files must not become two.

    Raises:
        RelayError: The file of groups gives its slices several.
    """
    named = {groups[path] for path in _slice_paths(one) if path in groups}
    if len(named) > 1:
        raise RelayError(
            f"the file that groups names gives slices of {one.title} {len(named)} groups; a series is of one "
            "patient."
        )
    if named or one.folder.path in groups:
        return named.pop() if named else groups[one.folder.path]
    others = tags[one.folder.patient]
    if one.patient == one.folder.patient and others:
        return next(iter(others)) if len(others) == 1 else None
    return one.patient or "source"


def _slice_paths(one: Series) -> Iterator[str]:
    """By which a file of groups may name its slices."""
    for file in one.slices:
        yield file.path
        yield file.path.rpartition(".")[0]


def notes_on_groups(series: Sequence[Series], groups: Mapping[str, str]) -> list[str]:
    """What of a file of groups, and of the source, has no counterpart.

    Raises:
        RelayError: Nothing in the file is in the source.
    """
    if not groups:
        return []
    known = [{*_slice_paths(one), one.folder.path} for one in series]
    unused = len(groups.keys() - set[str]().union(*known))
    if unused == len(groups):
        raise RelayError(
            f"none of the {unused} paths in the file that groups names is a slice or folder of the source; "
            "write them as PATIENT/slices, with forward slashes and without a leading one."
        )
    unnamed = sum(paths.isdisjoint(groups) for paths in known)
    notes = []
    if unused:
        notes.append(f"{unused} of {len(groups)} paths in the file of groups are not in the source.")
    if unnamed:
        notes.append(f"{unnamed} series are not in the file of groups and keep the groups that they have.")
    return notes
