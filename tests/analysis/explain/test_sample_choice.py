"""Which images are shown: the rule worked by hand on predictions that are written here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.explain.sample_choice import choose_samples, true_class_probability
from stages.errors import RelayError

NAMES = [f"patient-{index}/slice.png" for index in range(9)]
LABELS = np.asarray([0, 1, 0, 1, 0, 0, 1, 0, 2], dtype=np.int64)  # class 3 has none

# Of the true class. Class 0 in its order: rows 5, 2, 0, 7, 4; class 1: 6, 1, 3; class 2: 8.
PROBABILITIES = (0.5, 0.4, 0.3, 0.9, 0.8, 0.1, 0.2, 0.6, 0.7)


def _run(
    folder: Path,
    probabilities: Sequence[float] = PROBABILITIES,
    labels: npt.NDArray[np.int64] = LABELS,
    names: Sequence[str] = NAMES,
) -> Path:
    """A run's folder with predictions that give the true class these probabilities."""
    logits = np.zeros((len(labels), 4), dtype=np.float32)
    for row, (label, probability) in enumerate(zip(labels, probabilities, strict=True)):
        logits[row, label] = math.log(3 * probability / (1 - probability))
    folder.mkdir(parents=True)
    columns = {"sample": pa.array(names), "group": pa.array(names), "label": pa.array(labels)}
    columns |= {f"logit_{place}": pa.array(logits[:, place]) for place in range(4)}
    pq.write_table(pa.table(columns), folder / "predictions.parquet")
    return folder


def _chosen(folders: Sequence[Path], per_class: int) -> list[int]:
    rows = choose_samples(true_class_probability(folders, NAMES, LABELS), LABELS, per_class)
    assert rows.dtype == np.int64
    return rows.tolist()


@pytest.mark.parametrize(
    ("per_class", "expected"),
    [
        (1, [0, 1, 8]),  # the median of 5, 3 and 1
        (2, [2, 7, 6, 3, 8]),  # of 5 at 1.25 and 3.75, of 3 at 0.75 and 2.25
        (3, [5, 0, 4, 6, 1, 3, 8]),
        (5, [5, 2, 0, 7, 4, 6, 1, 3, 8]),
        (99, [5, 2, 0, 7, 4, 6, 1, 3, 8]),
    ],
)
def test_images_at_equal_steps_of_the_true_class_s_probability_are_taken(
    tmp_path: Path, per_class: int, expected: list[int]
) -> None:
    assert _chosen([_run(tmp_path / "run")], per_class) == expected


def test_probabilities_are_averaged_over_runs_and_not_logits(tmp_path: Path) -> None:
    """Of rows 0, 2, 4, 5, 7 (class 0): means 0.475, 0.50, 0.45, 0.48, 0.46, so row 0 is the median.

    By the mean logit, 0.9 weighs more than it should: the order would be another.
    """
    first, second = [0.5] * 9, [0.5] * 9
    for row, pair in {
        0: (0.94, 0.01),
        2: (0.5, 0.5),
        4: (0.45, 0.45),
        5: (0.48, 0.48),
        7: (0.46, 0.46),
    }.items():
        first[row], second[row] = pair
    folders = [_run(tmp_path / "a", first), _run(tmp_path / "b", second)]
    assert _chosen(folders, 1)[0] == 0
    assert _chosen(folders, 5)[:5] == [4, 7, 0, 5, 2]


def test_equal_probabilities_are_taken_in_the_set_s_order(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", [0.25] * 9)
    assert _chosen([folder], 99) == [0, 2, 4, 5, 7, 1, 3, 6, 8]
    assert _chosen([folder], 1) == [4, 3, 8]


def test_the_order_of_the_runs_does_not_matter(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    folders = [_run(tmp_path / str(run), generator.uniform(0.05, 0.95, 9).tolist()) for run in range(3)]
    for per_class in (1, 2, 99):
        assert _chosen(folders, per_class) == _chosen(folders[::-1], per_class)


def test_only_the_true_class_counts(tmp_path: Path) -> None:
    """A wrong class's logit changes what is predicted and the order, not which rows are of the class."""
    folder = _run(tmp_path / "run")
    file = folder / "predictions.parquet"
    table = pq.read_table(file).to_pandas()
    table.loc[4, "logit_3"] = 50.0  # was the most probable of its class; now the least
    pq.write_table(pa.Table.from_pandas(table), file)
    assert _chosen([folder], 99)[:5] == [4, 5, 2, 0, 7]


def test_predictions_of_another_evaluation_set_are_refused(tmp_path: Path) -> None:
    good = _run(tmp_path / "good")
    other = _run(tmp_path / "other", names=[*NAMES[:-1], "patient-99/slice.png"])
    with pytest.raises(RelayError, match=r"other/predictions\.parquet is of another evaluation set"):
        _chosen([good, other], 1)
    reordered = _run(tmp_path / "reordered", names=NAMES[::-1])
    with pytest.raises(RelayError, match=r"reordered/predictions\.parquet is of another evaluation set"):
        _chosen([reordered], 1)
    fewer = _run(tmp_path / "fewer", PROBABILITIES[:-1], LABELS[:-1], NAMES[:-1])
    with pytest.raises(RelayError, match="another evaluation set") as refused:
        _chosen([fewer], 1)
    assert "patient" not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 or not"], ids=["missing", "empty", "damaged"])
def test_predictions_that_cannot_be_read_are_named(tmp_path: Path, content: bytes | None) -> None:
    file = _run(tmp_path / "run") / "predictions.parquet"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(RelayError, match=r"run/predictions\.parquet cannot be read"):
        _chosen([file.parent], 1)


def test_a_table_without_names_is_refused(tmp_path: Path) -> None:
    file = _run(tmp_path / "run") / "predictions.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["sample"]), file)
    with pytest.raises(RelayError, match=r"run/predictions\.parquet"):
        _chosen([file.parent], 1)


def test_no_image_of_a_class_is_not_a_choice(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="per_class is 0; give at least 1"):
        _chosen([_run(tmp_path / "run")], 0)
