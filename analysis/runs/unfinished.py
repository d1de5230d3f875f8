"""Stage runs of a store without a record: failed, or not finished."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import RelayError
from stages.recipe import RECIPE_VERSION
from stages.store import RunFolder, Store
from stages.stored import read_stored


@dataclass(frozen=True)
class UnfinishedRun:
    """A stage run without a record.

    Attributes:
        folder: below the store.
        stage: its stage.
        seed: its seed; None if its recipe cannot be read.
        data_ratio: its data ratio; None if its recipe cannot be read.
        fold: its fold, such as "2 of 5"; empty without folds, or if its recipe cannot be read.
        failure: the kind of error that ended it; None without an error (running, waiting or killed).
    """

    folder: str
    stage: str
    seed: int | None
    data_ratio: float | None
    fold: str
    failure: str | None


def unfinished_runs(runs_dir: Path) -> list[UnfinishedRun]:
    """Stage runs that were started and have no record, in the order of their folders.

    Those that another version of Relay started are left out: no command will finish them.
    Of a traceback only the kind of error is used, because its message may name an image, and so a patient.

    Args:
        runs_dir: the store.
    """
    found = []
    for folder in Store(runs_dir).begun_runs():
        if folder.is_complete():
            continue
        recipe = _recipe(folder)
        if recipe.get("version", RECIPE_VERSION) != RECIPE_VERSION:
            continue
        seed, ratio, fold = _place(recipe)
        below = folder.path.relative_to(runs_dir)
        found.append(
            UnfinishedRun(str(below), below.parts[0], seed, ratio, fold, _kind_of_failure(folder.failure))
        )
    return found


def _recipe(folder: RunFolder) -> dict[str, Any]:
    try:
        content = folder.read_recipe()
    except RelayError:
        return {}
    return content if isinstance(content, dict) else {}


def _place(recipe: dict[str, Any]) -> tuple[int | None, float | None, str]:
    try:
        fold = "" if recipe.get("folds") is None else f"{recipe['fold']} of {recipe['folds']}"
        return int(recipe["seed"]), float(recipe["data"]["ratio"]), fold
    except (ValueError, TypeError, KeyError):
        return None, None, ""


def _kind_of_failure(path: Path) -> str | None:
    try:
        lines = read_stored(path, follow=False).strip().splitlines()
    except (OSError, ValueError):
        return None
    name = re.match(r"([A-Za-z_][\w.]*)(?::|$)", lines[-1]) if lines else None
    return name.group(1).rsplit(".", 1)[-1] if name else "unknown error"
