"""`predictions.parquet`: what a network said of every image of the evaluation set.

`test_predictions.parquet` has the same columns for the test set. It stays closed until someone opens it: see
`analysis.runs.openings`.

One row per image. Columns: `sample` and `group` (names of the image and of its patient or object), `label`
(int64, position of its class), `predicted_K` for each epoch K = 0, 1, ... of the plateau, in their order
(int16, or int32 for more classes: position of the class with the largest logit), and `logit_CLASS` (float32)
for each class, after the last epoch; and `histogram` (int64, the class that the baseline gives the image: a
linear classifier on grey-level histograms, trained on the run's training images; absent where these stream).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stages.errors import RelayError
from stages.machine.atomic import write_bytes

SAMPLE, GROUP, LABEL, PREDICTED, LOGIT, HISTOGRAM = (
    "sample",
    "group",
    "label",
    "predicted_",
    "logit_",
    "histogram",
)

# Equal numbers take next to no room in the file, so that a few bytes may claim a memory full of them.
_MOST_NUMBERS, _NUMBERS_A_BYTE = 10_000_000, 20

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Predictions:
    """What was read of a file, for N images and C classes.

    Attributes:
        classes: C names.
        labels: int64, shape (N,), in 0..C-1.
        logits: float32, shape (N, C), finite.
        samples: N names of images; empty unless asked for.
        groups: N names of patients or objects, None for an image without one; empty unless asked for.
        by_epoch: int64, shape (N, epochs), the class with the largest logit in each epoch of the plateau;
            the last is `predicted`. Of shape (0, 0) unless asked for.
        histogram: the baseline's class of each image, int64, shape (N,); None unless asked for and there.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    samples: tuple[str, ...] = ()
    groups: tuple[str | None, ...] = ()
    by_epoch: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64))
    histogram: npt.NDArray[np.int64] | None = None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The class with the largest logit of each image, shape (N,)."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)


def predicted_classes(logits: npt.NDArray[np.float32]) -> Integers:
    """The class with the largest logit of each image, the first of equal ones, in a small type.

    Args:
        logits: shape (N, C).

    Returns:
        int16, shape (N,), or int32 for more classes than that holds.
    """
    small = np.int16 if logits.shape[1] - 1 <= np.iinfo(np.int16).max else np.int32
    return np.asarray(logits.argmax(axis=1), dtype=small)


def write_predictions(
    path: Path,
    *,
    samples: Sequence[str],
    groups: Sequence[str | None],
    labels: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float32],
    classes: Sequence[str],
    before: Sequence[Integers] = (),
    histogram: npt.NDArray[np.int64] | None = None,
) -> None:
    """Write the file, whole or not at all.

    Args:
        path: the file.
        samples: N names.
        groups: N names of patients or objects.
        labels: shape (N,), in 0..C-1.
        logits: shape (N, C), after the last epoch.
        classes: C names.
        before: `predicted_classes` of the plateau's other epochs, in their order; each of shape (N,).
        histogram: the baseline's class of each image, shape (N,), or None.
    """
    columns: dict[str, pa.Array] = {
        SAMPLE: pa.array(list(samples), pa.string()),
        GROUP: pa.array(list(groups), pa.string()),
        LABEL: pa.array(labels, pa.int64()),
    }
    for epoch, predicted in enumerate((*before, predicted_classes(logits))):
        columns[f"{PREDICTED}{epoch}"] = pa.array(predicted)
    for position, name in enumerate(classes):
        columns[LOGIT + name] = pa.array(logits[:, position], pa.float32())
    if histogram is not None:
        columns[HISTOGRAM] = pa.array(histogram, pa.int64())
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    write_bytes(path, content.getvalue())


def read_predictions(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    samples: bool = False,
    groups: bool = False,
    by_epoch: bool = False,
    histogram: bool = False,
) -> Predictions:
    """Read the file. Names, which may say who a patient is, are not read unless asked for.

    Args:
        path: the file.
        classes: names that its classes must have, in this order; None for any.
        samples: whether the images' names are needed.
        groups: whether the names of their patients or objects are.
        by_epoch: whether the predictions of each epoch of the plateau are.
        histogram: whether the baseline's classes are.

    Raises:
        RelayError: if the file is missing or damaged, lacks a column, or holds values that cannot be; names
            the file and the first fault.
    """
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        with pq.ParquetFile(path) as file:
            numbers = file.metadata.num_rows * file.metadata.num_columns
            if numbers > _MOST_NUMBERS + _NUMBERS_A_BYTE * path.stat().st_size:
                raise ValueError(f"it claims {numbers:,} numbers, which so small a file has not")
            found = tuple(file.schema_arrow.names)
            of_class = tuple(name for name in found if name.startswith(LOGIT))
            names = [name for name, wanted in ((SAMPLE, samples), (GROUP, groups)) if wanted]
            epochs = sum(name.startswith(PREDICTED) for name in found) if by_epoch else 0
            of_epoch = [f"{PREDICTED}{epoch}" for epoch in range(max(1, epochs) if by_epoch else 0)]
            missing = [name for name in (LABEL, *names, *of_epoch) if name not in found]
            if missing:
                raise ValueError(f"it has no column {missing[0]!r}")
            baseline = [HISTOGRAM] if histogram and HISTOGRAM in found else []
            table = file.read([LABEL, *names, *of_epoch, *of_class, *baseline], use_threads=False)
        predictions = Predictions(
            classes=tuple(name.removeprefix(LOGIT) for name in of_class),
            labels=_numbers(table, [LABEL], pa.int64())[:, 0],
            logits=_numbers(table, of_class, pa.float32()),
            samples=tuple(table.column(SAMPLE).to_pylist()) if samples else (),
            groups=tuple(table.column(GROUP).to_pylist()) if groups else (),
            by_epoch=_numbers(table, of_epoch, pa.int64()) if by_epoch else np.empty((0, 0), np.int64),
            histogram=_numbers(table, baseline, pa.int64())[:, 0] if baseline else None,
        )
        _check(predictions, classes)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise RelayError(
            f"{path} cannot be read: {error}. Remove its folder and train the run again, or leave it out."
        ) from None
    return predictions


def _numbers(table: pa.Table, names: Sequence[str], kind: pa.DataType) -> npt.NDArray[Any]:
    """Columns as an array (N, columns); one that lacks a value or has another type is an error."""
    columns = [table.column(name).cast(kind) for name in names]
    if any(column.null_count for column in columns):
        raise ValueError("a label, prediction or logit is missing")
    return np.stack([column.to_numpy() for column in columns], axis=1)


def _check(found: Predictions, classes: Sequence[str] | None) -> None:
    if classes is not None and found.classes != tuple(classes):
        raise ValueError("its classes are not those of the record")
    if not len(found.labels):
        raise ValueError("there are no images")
    if found.labels.min() < 0 or found.labels.max() >= len(found.classes):
        raise ValueError("it has labels without a column of logits")
    if found.by_epoch.size and not 0 <= found.by_epoch.min() <= found.by_epoch.max() < len(found.classes):
        raise ValueError("it has predictions without a column of logits")
    if not np.isfinite(found.logits).all():
        raise ValueError("it has logits that are not finite numbers")
