"""predictions.parquet: written as described, read column by column, refused with the file and the fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.errors import RelayError
from stages.predictions import predicted_classes, read_predictions, write_predictions

CLASSES = ("CON", "GGO", "HCM")
BEFORE = [np.array([0, 2], dtype=np.int16), np.array([1, 1], dtype=np.int16)]
LOGITS = np.array([[0.1, -2.0, 3.5], [1e-8, 7.0, -0.0]], dtype=np.float32)


def written(
    path: Path, logits: Any = LOGITS, labels: Any = (2, 0), classes: Any = CLASSES, histogram: Any = None
) -> Path:
    write_predictions(
        path,
        samples=("p1/a.png", "p2/b.png")[: len(labels)],
        groups=("p1", None)[: len(labels)],
        labels=np.array(labels, dtype=np.int64),
        logits=logits,
        classes=classes,
        before=BEFORE if len(labels) == 2 else (),
        histogram=histogram,
    )
    return path


def test_predictions_are_one_row_per_sample(tmp_path: Path) -> None:
    table = pq.read_table(written(tmp_path / "predictions.parquet"))
    assert table.schema.names == [
        *("sample", "group", "label", "predicted_0", "predicted_1", "predicted_2"),
        *("logit_CON", "logit_GGO", "logit_HCM"),
    ]
    strings, small, logits = [pa.string()] * 2, [pa.int16()] * 3, [pa.float32()] * 3
    assert table.schema.types == [*strings, pa.int64(), *small, *logits]
    assert table["sample"].to_pylist() == ["p1/a.png", "p2/b.png"]
    assert table["group"].to_pylist() == ["p1", None]
    assert table["label"].to_pylist() == [2, 0]
    epochs = [table[f"predicted_{epoch}"].to_pylist() for epoch in range(3)]
    assert epochs == [[0, 2], [1, 1], [2, 1]]  # the last is the largest logit
    found = np.stack([table[f"logit_{name}"].to_numpy() for name in CLASSES], axis=1)
    np.testing.assert_array_equal(found, LOGITS)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = read_predictions(
        written(tmp_path / "predictions.parquet"), classes=CLASSES, samples=True, groups=True, by_epoch=True
    )
    assert (found.classes, found.samples, found.groups) == (CLASSES, ("p1/a.png", "p2/b.png"), ("p1", None))
    assert found.labels.tolist() == [2, 0] and found.labels.dtype == np.int64
    np.testing.assert_array_equal(found.logits, LOGITS)
    assert found.logits.dtype == np.float32
    assert found.predicted.tolist() == [2, 1]
    assert found.by_epoch.tolist() == [[0, 1, 2], [2, 1, 1]]
    assert found.by_epoch.dtype == np.int64


@pytest.mark.parametrize(("classes", "kind"), [(2, np.int16), (2**15, np.int16), (2**15 + 1, np.int32)])
def test_a_predicted_class_is_a_small_integer(classes: int, kind: type) -> None:
    logits = np.zeros((3, classes), dtype=np.float32)
    logits[0, -1] = logits[1, 1] = 1.0
    found = predicted_classes(logits)
    assert found.tolist() == [classes - 1, 1, 0]  # the first of equal ones
    assert found.dtype == kind


def test_the_baselines_classes_are_read_where_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "without.parquet")
    assert read_predictions(path, histogram=True).histogram is None
    path = written(tmp_path / "with.parquet", histogram=np.array([1, 0]))
    found = read_predictions(path, histogram=True).histogram
    assert found is not None and found.tolist() == [1, 0]
    assert read_predictions(path).histogram is None, "not asked for"
    assert read_predictions(path).classes == CLASSES


def test_a_class_may_be_named_like_anything(tmp_path: Path) -> None:
    names = ("logit_", "predicted_0", "a.b <c>")
    assert read_predictions(written(tmp_path / "p.parquet", classes=names)).classes == names


@pytest.mark.parametrize("asked", [set(), {"samples"}, {"groups"}, {"by_epoch"}, {"samples", "groups"}])
def test_names_and_epochs_are_not_read_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: set[str]
) -> None:
    path, columns = written(tmp_path / "predictions.parquet"), []
    read = pq.ParquetFile.read
    monkeypatch.setattr(
        pq.ParquetFile, "read", lambda file, names, **rest: columns.extend(names) or read(file, names, **rest)
    )
    found = read_predictions(path, **dict.fromkeys(asked, True))
    assert ("predicted_0" in columns, bool(found.by_epoch.size)) == ("by_epoch" in asked,) * 2
    assert ("sample" in columns, "group" in columns) == ("samples" in asked, "groups" in asked)
    assert (bool(found.samples), bool(found.groups)) == ("samples" in asked, "groups" in asked)
    assert {"label", "logit_CON"} <= set(columns)


def _changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def _replaced(name: str, values: list[Any]) -> Callable[[Path], object]:
    return _changed(lambda table: table.set_column(table.schema.names.index(name), name, [values]))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "there is no such file"),
    "empty": (lambda path: path.write_bytes(b""), ""),
    "damaged": (lambda path: path.write_bytes(path.read_bytes()[:-20]), ""),
    "another format": (lambda path: path.write_text("sample,label\na,0\n"), ""),
    "no label": (_changed(lambda table: table.drop_columns(["label"])), "no column 'label'"),
    "no sample": (_changed(lambda table: table.drop_columns(["sample"])), "no column 'sample'"),
    "no epoch": (_changed(lambda table: table.drop_columns(["predicted_1"])), "no column 'predicted_1'"),
    "no epochs": (
        _changed(lambda table: table.drop_columns([f"predicted_{epoch}" for epoch in range(3)])),
        "no column 'predicted_0'",
    ),
    "prediction too large": (_replaced("predicted_1", [3, 0]), "predictions without a column of logits"),
    "prediction below 0": (_replaced("predicted_0", [0, -1]), "predictions without a column of logits"),
    "prediction missing": (_replaced("predicted_0", [0, None]), "prediction or logit is missing"),
    "no logits": (_changed(lambda table: table.select(["sample", "group", "label"])), ""),
    "another class": (_changed(lambda table: table.drop_columns(["logit_GGO"])), "not those of the record"),
    "no images": (_changed(lambda table: table.slice(0, 0)), "there are no images"),
    "label too large": (_replaced("label", [3, 0]), "labels without a column of logits"),
    "label below 0": (_replaced("label", [-1, 0]), "labels without a column of logits"),
    "label missing": (_replaced("label", [None, 0]), "a label, prediction or logit is missing"),
    "label of another type": (_replaced("label", ["CON", "HCM"]), ""),
    "label not whole": (_replaced("label", [0.5, 1.0]), ""),
    "logit missing": (_replaced("logit_GGO", [None, 0.5]), "prediction or logit is missing"),
    "logit not a number": (_replaced("logit_GGO", [float("nan"), 0.5]), "not finite"),
    "logit infinite": (_replaced("logit_GGO", [float("inf"), 0.5]), "not finite"),
    "logit of another type": (_replaced("logit_GGO", ["high", "low"]), ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_used_is_named_with_the_fault_and_what_to_do(
    tmp_path: Path, fault: str
) -> None:
    (tmp_path / "run").mkdir()
    path = written(tmp_path / "run" / "predictions.parquet")
    damage, said = FAULTS[fault]
    damage(path)
    with pytest.raises(RelayError, match=r"run/predictions\.parquet cannot be read: ") as refusal:
        read_predictions(path, classes=CLASSES, samples=True, by_epoch=True)
    assert said in str(refusal.value)
    assert str(refusal.value).endswith("Remove its folder and train the run again, or leave it out.")
    assert "p1" not in str(refusal.value)


def test_a_small_file_that_claims_a_memory_full_of_rows_is_refused(tmp_path: Path) -> None:
    """Eighty million equal numbers in 0.3 MB."""
    path, rows = tmp_path / "predictions.parquet", 40_000_000
    schema = pa.schema([("label", pa.int8()), ("logit_A", pa.int8())])
    zeros = pa.array(np.zeros(rows, np.int8))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        writer.write_table(pa.table([zeros, zeros], schema=schema), row_group_size=rows)
    assert path.stat().st_size < 400_000
    with pytest.raises(RelayError, match=r"cannot be read: it claims 80,000,000 numbers"):
        read_predictions(path)
