"""Which study of a store a command was asked for, and what is said of those that there are."""

import json
from collections.abc import Sequence

from analysis.runs.study import Study, differences
from stages.console.output import output
from stages.console.words import counted
from stages.errors import RelayError

_FOLLOWING = ("arithmetic.", "layers of ")
"""Settings that often differ because another does."""


def select_study(studies: Sequence[Study], name: str | None) -> Study:
    """The study with more runs than any other, or the one of a name, of a target, or whose id begins so.

    Where it is one of several and none was named, the console says which, and how to choose another.

    Args:
        studies: of a store, those with the most runs first.
        name: its name, a target, or the beginning of an id; None for the one with more runs than any other.

    Returns:
        The study.

    Raises:
        RelayError: if there is no such study, or more than one; or none was named, and several have the most
            runs. All are listed.
    """
    if name is None and len(studies) == 1:
        return studies[0]
    listed = "\n".join(f"  study={study.name}  {described(study, studies)}" for study in studies)
    if name is None:
        most = len(studies[0].runs)
        tied = sum(len(study.runs) == most for study in studies)
        if tied > 1:
            raise RelayError(
                f"{tied} studies have as many runs ({most}), and runs of different studies are not mixed. "
                f"Choose one:\n{listed}"
            )
        said = f"{len(studies)} studies in this store; this is {studies[0].name}, with the most runs. Choose:"
        output().print(f"{said}\n{listed}", soft_wrap=True)
        return studies[0]
    found = [study for study in studies if name == study.name]
    found = found or [study for study in studies if name == study.target]
    found = found or [study for study in studies if study.id.startswith(name)]
    if len(found) != 1:
        there = f"There are:\n{listed}" if studies else "There are none"
        raise RelayError(f"study={name} names {len(found) or 'none'} of the store's studies. {there}")
    return found[0]


def described(study: Study, studies: Sequence[Study]) -> str:
    """A study's target and size, and the first settings in which it differs from others of its target."""
    own = [other for other in studies if other.target == study.target]
    differing = {key: json.loads(values[study.id] or "null") for key, values in differences(own).items()}
    # What was typed (a network, a rate) tells studies apart better than what follows from it.
    first = sorted(differing, key=lambda key: (not key.startswith("model."), key.startswith(_FOLLOWING)))
    shown = ", ".join(f"{key}={_short(differing[key])}" for key in first[:3])
    return f"{study.target}, {counted(len(study.runs), 'run')}{f', {shown}' if shown else ''}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else f"{text[:8]}..."
