"""A record against the files that its numbers come from: the history and the predictions."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stages.balance import least_and_fall
from stages.epochs import Row, read_csv, summarise
from stages.errors import RelayError
from stages.metrics import PRIMARY, TRAIN_LOSS
from stages.plateau import PlateauRule, find_plateau
from stages.predictions import read_predictions
from stages.recipe import Optim
from stages.record import Record
from stages.schedule import after_warm_up
from stages.store import RunFolder

_EXACT = 1e-9  # of a metric that was written in full precision
_SINGLE = 1e-6  # of one that was computed in float32

_CANNOT = (OSError, ValueError, TypeError, KeyError, IndexError, RelayError)


def history_problems(run: RunFolder, record: Record, recipe: Mapping[str, Any]) -> list[str]:
    """In what `history.csv` contradicts the record: epochs, plateau, each metric's percentiles and mean.

    Args:
        run: the run's folder.
        record: its record.
        recipe: what its `recipe.yaml` holds.
    """
    return _all_of(lambda: _of_history(read_csv(run.history), record, recipe))


def predictions_problems(run: RunFolder, record: Record) -> list[str]:
    """In what `predictions.parquet` contradicts the record: confusion matrix and accuracy.

    The accuracy of each epoch of the plateau is that of the history.
    """
    return _all_of(lambda: _of_predictions(run, record))


def _all_of(problems: Callable[[], Iterator[str]]) -> list[str]:
    found: list[str] = []
    try:
        found.extend(problems())
    except _CANNOT as error:
        found.append(f"the record cannot be compared with it ({str(error) or type(error).__name__})")
    return found


def _of_history(rows: Sequence[Row], record: Record, recipe: Mapping[str, Any]) -> Iterator[str]:
    if [row["epoch"] for row in rows] != list(range(record.epochs)):
        yield f"the record has {record.epochs} epochs and it does not"
        return
    optim, counts = Optim(**recipe["optim"]), record.data.train_counts
    least, chance = least_and_fall(optim, counts)
    losses = [float(row[TRAIN_LOSS]) - least for row in rows]
    rule = after_warm_up(PlateauRule(**recipe["plateau"]), optim, counts)
    plateau = find_plateau(losses, rule, chance=chance)
    if (stored := record.plateau.model_dump()) != asdict(plateau):
        yield f"its losses give the plateau {asdict(plateau)}, the record has {stored}"
        return
    summary = summarise(rows, plateau)
    if summary.keys() != record.metrics.keys():
        yield "the record has other metrics"
    for name in summary.keys() & record.metrics.keys():
        stored = record.metrics[name].model_dump()
        for part, value in summary[name].model_dump().items():
            if not math.isclose(value, stored[part], rel_tol=_EXACT, abs_tol=_EXACT):
                yield f"it gives {name} {part} {value:g}, the record has {stored[part]:g}"


def _of_predictions(run: RunFolder, record: Record) -> Iterator[str]:
    found = read_predictions(run.predictions, classes=record.data.classes, by_epoch=True, histogram=True)
    classes = len(record.data.classes)
    matrix = np.bincount(found.labels * classes + found.predicted, minlength=classes**2)
    if matrix.reshape(classes, classes).tolist() != record.confusion_matrix:
        yield "its labels and logits give another confusion matrix than the record has"
    if found.by_epoch.shape[1] != record.plateau.length:
        yield f"it has {found.by_epoch.shape[1]} epochs, the plateau of the record {record.plateau.length}"
        return
    if not np.array_equal(found.by_epoch[:, -1], found.predicted):
        yield "its classes of the last epoch are not those of its logits"
    accuracies = (found.by_epoch == found.labels[:, None]).mean(axis=0).tolist()
    if PRIMARY in record.metrics:
        last = record.metrics[PRIMARY].last
        if not math.isclose(accuracies[-1], last, abs_tol=_SINGLE):
            yield f"it gives accuracy {accuracies[-1]:g} after the last epoch, the record has {last:g}"
        of_plateau = read_csv(run.history)[record.plateau.onset :][: record.plateau.length]
        differ = [
            str(row["epoch"])
            for row, accuracy in zip(of_plateau, accuracies, strict=True)
            if not math.isclose(accuracy, row[PRIMARY], abs_tol=_SINGLE)
        ]
        if differ:
            yield f"it gives another accuracy than history.csv in epoch {', '.join(differ)}"
    baseline = record.data.histogram_accuracy
    if found.histogram is not None and baseline is not None:
        share = float(np.mean(found.histogram == found.labels))
        if not math.isclose(share, baseline, abs_tol=_EXACT):
            yield f"it gives the histogram baseline accuracy {share:g}, the record has {baseline:g}"
