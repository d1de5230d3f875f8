"""A set's classes as the networks call them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from datamodules.files.names import one_spelling
from stages.console.words import counted
from stages.errors import RelayError

LEFT_OUT = "none"


@dataclass(frozen=True)
class Matched:
    """Which class of the networks each class of a set is.

    Attributes:
        label_of: the networks' label of each class of the set, None for one that is left out.
        notes: what a person should know, a line each.
    """

    label_of: Mapping[str, int | None]
    notes: tuple[str, ...]


def parsed(text: str | None) -> dict[str, str]:
    """`THEIRS:OURS,...` as pairs. A name may hold a colon: the last one parts.

    Raises:
        RelayError: a part has no colon, or a name is there twice.
    """
    pairs: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        theirs, colon, ours = (piece.strip() for piece in part.rpartition(":"))
        if not colon or not theirs or not ours:
            raise RelayError(
                f"classes has {part.strip()!r}; write THEIRS:OURS, such as classes=emphysema:EMP,normal:NOR"
            )
        if pairs.setdefault(theirs, ours) != ours:
            raise RelayError(
                f"classes names {theirs!r} twice, as {pairs[theirs]!r} and {ours!r}; name it once"
            )
    return pairs


def match(theirs: Sequence[str], ours: Sequence[str], given: Mapping[str, str], what: str) -> Matched:
    """Find each class of a set among the networks'.

    As `given`; else by its own name; else by the one that differs in capitals, blanks, underscores or forms
    of letters alone.

    Args:
        theirs: classes of the set.
        ours: classes of the networks.
        given: what the person typed: THEIRS -> OURS, or `none` to leave a class out.
        what: the set, for messages.

    Raises:
        RelayError: a class is none of the networks', or the person named one that is not there; gives near
            names, and how to map or leave out.
    """
    wrong = [name for name in given if name not in theirs]
    if wrong:
        raise RelayError(
            f"classes names {wrong[0]!r}, which is no class of {what}; it has {', '.join(theirs)}"
            + _near(wrong[0], theirs)
        )
    for name in given.values():
        if name not in ours and name != LEFT_OUT:
            raise RelayError(
                f"classes maps to {name!r}, which is no class of the networks; they know {', '.join(ours)}, "
                f"and {LEFT_OUT} leaves a class out" + _near(name, ours)
            )
    label_of: dict[str, int | None] = {}
    respelled, unknown = [], []
    for name in theirs:
        wanted = given.get(name, name)
        if wanted in ours:
            label_of[name] = ours.index(wanted)
        elif name in given:
            label_of[name] = None
        elif len(fitting := [each for each in ours if _spelled(each) == _spelled(name)]) == 1:
            label_of[name] = ours.index(fitting[0])
            respelled.append(f"{name} is {fitting[0]}")
        else:
            unknown.append(name)
    if unknown:
        first = unknown[0]
        example = f"{first}:{(get_close_matches(first, ours, n=1, cutoff=0.3) or ours)[0]}"
        raise RelayError(
            f"{what} has {counted(len(unknown), 'class', 'classes')} that the networks do not know: "
            f"{', '.join(unknown)}; they know {', '.join(ours)}. Say which is which, classes={example}, or "
            f"leave one's images out, classes={first}:{LEFT_OUT}"
        )
    notes = [f"classes by another spelling: {', '.join(respelled)}"] if respelled else []
    mapped = [f"{name} is {given[name]}" for name in theirs if given.get(name, LEFT_OUT) != LEFT_OUT]
    if mapped:
        notes.append(f"classes as typed: {', '.join(mapped)}")
    if LEFT_OUT in given.values() and all(label is None for label in label_of.values()):
        raise RelayError("classes leaves every class out; keep one")
    return Matched(label_of, tuple(notes))


def _spelled(name: str) -> str:
    return one_spelling(name.replace("-", " "))


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=2, cutoff=0.5)
    return f". Did you mean {' or '.join(near)}?" if near else ""
