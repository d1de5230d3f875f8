"""Stage runs of a store that have no record: failed, or not finished."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from stages.store import RunFolder


@dataclass(frozen=True)
class UnfinishedRun:
    """A stage run without a record.

    Attributes:
        folder: below the store.
        stage: its stage.
        seed: its seed; None if its recipe cannot be read.
        data_ratio: its data ratio; None if its recipe cannot be read.
        failure: the kind of error that ended it; None if there was none (running, waiting or killed).
    """

    folder: str
    stage: str
    seed: int | None
    data_ratio: float | None
    failure: str | None


def unfinished_runs(runs_dir: Path) -> list[UnfinishedRun]:
    """Stage runs that were begun and have no record, in the order of their folders.

    Of a traceback only the kind of error is taken: its message may name an image, and so a patient.

    Args:
        runs_dir: the store.
    """
    found = []
    for recipe in sorted(runs_dir.glob("[!.]*/[!.]*/recipe.yaml")):
        folder = RunFolder(recipe.parent)
        if folder.is_complete():
            continue
        seed, ratio = _seed_and_ratio(recipe)
        below = recipe.parent.relative_to(runs_dir)
        found.append(UnfinishedRun(str(below), below.parts[0], seed, ratio, _kind_of_failure(folder.failure)))
    return found


def _seed_and_ratio(path: Path) -> tuple[int | None, float | None]:
    try:
        content = yaml.safe_load(path.read_text())
        return int(content["seed"]), float(content["data"]["ratio"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None, None


def _kind_of_failure(path: Path) -> str | None:
    try:
        lines = path.read_text().strip().splitlines()
    except (OSError, ValueError):
        return None
    name = re.match(r"([A-Za-z_][\w.]*)(?::|$)", lines[-1]) if lines else None
    return name.group(1).rsplit(".", 1)[-1] if name else "unknown error"
