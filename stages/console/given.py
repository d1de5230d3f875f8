"""Checkpoints of the user's that stage runs start from, as the console names them."""

from collections.abc import Iterable

from stages.config import License
from stages.plan import StageRun
from stages.recipe import short_id


def given_lines(runs: Iterable[StageRun]) -> list[str]:
    """Each checkpoint that a plan starts from: its stage, file, SHA-256 and licence; files named twice."""
    lines, names = dict[str, None](), dict[str, dict[str, None]]()
    for run in runs:
        recipe, config = run.recipe, run.config
        if recipe.init_from is None:
            continue
        digest = f"{config.init_from} (SHA-256 {short_id(recipe.init_from)}, {licence(config.job.license)})"
        named = "init_from" if recipe.given is None else f"{recipe.given}, given"
        lines[f"{named}: {digest}"] = None
        names.setdefault(recipe.init_from, {})[recipe.given or "init_from"] = None
    same = [
        f"{' and '.join(each)} are one file: chains that start from them differ in their names only"
        for each in names.values()
        if len(each) > 1
    ]
    return [*lines, *same]


def licence(license: License | None) -> str:
    """The licence line of weights."""
    return license or "licence not said"
