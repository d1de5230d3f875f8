"""Which patient a series shows: by its tag, its folder, or a file of the user's."""

from collections.abc import Iterator, Mapping, Sequence

from datamodules.files.spelling import plain_patient, spelled_alike
from datamodules.readers.hrct.sources.series import Series
from stages.errors import RelayError


def patient_tags(series: Sequence[Series]) -> dict[str, set[str]]:
    """PatientIDs by patient's folder."""
    tags: dict[str, set[str]] = {one.folder.patient: set() for one in series}
    for one in series:
        if _is_tagged(one):
            tags[one.folder.patient].add(one.patient)
    return tags


def _is_tagged(one: Series) -> bool:
    # A folder may have its patient's PatientID as its name.
    return one.dicom and one.patient == one.scan.patient != ""


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
    if one.patient == one.folder.patient and others and not _is_tagged(one):
        return min(others) if len(spelled_alike(others)) == 1 else None
    return one.patient or "source"


def is_alone(one: Series, group: str) -> bool:
    """Whether a series is one slice that nothing gives a patient."""
    return one.folder.independent and group == one.patient


def join_spellings(found: Sequence[tuple[Series, str]], notes: list[str]) -> list[str]:
    """Give one patient one group, however files spell it: two would come to lie on both sides of a split.

    Args:
        found: Series and their groups.
        notes: Takes what was joined.

    Returns:
        The groups, in order, each in the first of its spellings.
    """
    alike = spelled_alike(group for one, group in found if not is_alone(one, group))
    several = [spellings for spellings in alike.values() if len(spellings) > 1]
    if several:
        notes.append(
            f"{len(several)} patients are spelled in several ways ({sum(map(len, several))} in all: "
            "capitals, blanks, signs or leading zeros differ); each is one patient. If not, name them in a "
            "file and set groups to it."
        )
    return [group if is_alone(one, group) else alike[plain_patient(group)][0] for one, group in found]


def _slice_paths(one: Series) -> Iterator[str]:
    """By which a file of groups may name its slices."""
    for file in one.files:
        yield file.path
        yield file.bare


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
