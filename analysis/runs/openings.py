"""The locked test set: its predictions are read when someone asks for it, and each time is written down.

`test_predictions.parquet` of a run is opened here and nowhere else. `test_openings.jsonl` of the store has
one line for each opening. The line is there before the first prediction is read, so that every look counts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from filelock import FileLock

from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.predictions import Predictions, read_predictions
from stages.store import RunFolder
from stages.stored import read_stored

OPENINGS = "test_openings.jsonl"

Test = Literal["open"]
"""The one value of `test=`: without it the test sets stay closed."""


@dataclass(frozen=True)
class Opening:
    """One look at the test sets of a store.

    Attributes:
        number: 1 for the store's first.
        time: in ISO 8601, UTC.
        command: what asked for it.
        runs: how many stage runs' test predictions were read.
    """

    number: int
    time: str
    command: str
    runs: int


def check_test(test: str | None) -> None:
    """Refuse a value of `test=` that is not known.

    Raises:
        RelayError: naming the one that is.
    """
    if test not in (None, *get_args(Test)):
        raise RelayError(
            f"test={test} is not known: test=open reads the locked test set, and is written down in the "
            "store; leave it out to keep the test set closed"
        )


def read_openings(runs_dir: Path) -> list[Opening]:
    """The openings of a store's test sets, the first one first.

    Raises:
        RelayError: if the file is damaged; names the line.
    """
    path = runs_dir / OPENINGS
    if not path.is_file():
        return []
    found: list[Opening] = []
    for number, line in enumerate(read_stored(path).splitlines(), start=1):
        try:
            opening = Opening(**json.loads(line))
            datetime.fromisoformat(opening.time)
            if opening.number != number:
                raise ValueError(f"it is opening {opening.number}")
        except (ValueError, TypeError) as error:
            raise RelayError(
                f"{path}, line {number} is not an opening of the test set ({error}). Relay writes this file, "
                "which counts how often the test set was seen; restore it"
            ) from None
        found.append(opening)
    return found


def open_test_sets(runs: pd.DataFrame, runs_dir: Path, command: str) -> tuple[list[Predictions], Opening]:
    """Write an opening down, then read the test predictions of runs.

    Safe with several processes at once: each has a number of its own.

    Args:
        runs: rows of `analysis.runs.load_runs` that have a test set.
        runs_dir: their store.
        command: what asks for it.

    Returns:
        The predictions of each row, with samples and groups; and which opening it was.

    Raises:
        RelayError: if there are no runs, the store cannot be written, or a file is missing or damaged.
    """
    if runs.empty:
        raise RelayError(
            f"test=open, but no run of {runs_dir} has a test set: train with test_fraction=0.2, or with "
            "images that have a test side. Nothing was opened"
        )
    folders = [RunFolder(Path(folder)) for folder in runs["folder"]]
    for folder in folders:
        folder.check_files(folder.read_record(), folder.test_predictions)
    opening = _write_down(runs_dir, command, len(runs))
    return [
        read_predictions(folder.test_predictions, samples=True, groups=True) for folder in folders
    ], opening


def with_test(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that have a test set."""
    return runs[runs["test_images"] > 0]


def metrics_of_test(predictions: Predictions) -> dict[str, float]:
    """Every metric of a run's test predictions, as test_METRIC."""
    import torch  # seconds that a closed test set does without

    from lightning_modules.metrics import evaluate

    found = evaluate(torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels))
    return {f"test_{name}": value for name, value in found.metrics.items()}


def _write_down(runs_dir: Path, command: str, runs: int) -> Opening:
    path = runs_dir / OPENINGS
    try:
        with FileLock(runs_dir / f".{OPENINGS}.lock"):
            before = read_openings(runs_dir)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            opening = Opening(len(before) + 1, now, " ".join(command.split()), runs)
            lines = [json.dumps(asdict(each)) + "\n" for each in (*before, opening)]
            write_text(path, "".join(lines))
    except OSError as error:
        raise RelayError(
            f"the test set stays closed, because its opening cannot be written to {path}: "
            f"{error.strerror or error}"
        ) from None
    return opening


def ordinal(number: int) -> str:
    """A number as a word: first, fourth, 13th."""
    words: Sequence[str] = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
    if number <= len(words):
        return words[number - 1]
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
