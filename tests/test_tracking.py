"""Weights & Biases offline: its own files are read back, and nothing in them names a patient."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wandb
from stage_helpers import PROJECT, recipe, record_content
from wandb.proto import wandb_internal_pb2

from callbacks import Tracking
from callbacks.tracking import wandb_mode
from stages.config import LoggerConfig
from stages.record import Record

CHAIN = ("natural", "dld")
PATIENTS = ("patient-Meyer-1951", "patient-Schmidt-1948")
BLOCK = 32768  # of LevelDB's log format, which a .wandb file has after a header of 7 bytes


def _records(path: Path) -> Iterator[Any]:
    """The protocol buffers of a .wandb file, by LevelDB's published log format."""
    content, position, whole = path.read_bytes(), 7, b""
    assert content[:4] in (b"", b":W&B")
    while position + 7 <= len(content):
        if (left := BLOCK - position % BLOCK) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        if position + 7 + length > len(content):
            return  # still being written
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


@dataclass(frozen=True)
class Tracked:
    """A run of W&B as its file has it."""

    folder: Path
    run: Any
    config: dict[str, Any]
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    exit_code: int


def _read(folder: Path) -> Tracked:
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    records, deadline = list(_records(file)), time.monotonic() + 20.0
    while not any(record.WhichOneof("record_type") == "exit" for record in records):
        assert time.monotonic() < deadline, "the run's end was never written"
        time.sleep(0.02)  # W&B's own process writes it, maybe after `finish` has returned
        records = list(_records(file))
    summary: dict[str, Any] = {}
    for record in records:
        summary |= _values(record.summary.update)
    (ended,) = (record.exit for record in records if record.WhichOneof("record_type") == "exit")
    runs = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    return Tracked(
        folder,
        runs[0],
        _values(runs[0].config.update),
        summary,
        [_values(record.history.item) for record in records if record.history.item],
        ended.exit_code,
    )


def _settings(mode: str = "offline") -> LoggerConfig:
    return LoggerConfig(wandb=mode, project="relay-tests", entity=None, study="paper")


@pytest.fixture(scope="module", autouse=True)
def _away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """W&B writes beside the run only; its process ends with these tests."""
    home = tmp_path_factory.mktemp("wandb-home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
            patch.delenv(name, raising=False)
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(home))
        yield
        wandb.teardown()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """Two epochs and a record, of a run whose evaluation set names patients."""
    folder = tmp_path_factory.mktemp("tracked")
    of = recipe()
    arguments = [str(PROJECT / "train.py"), f"data.domains.dld.root=/data/{PATIENTS[0]}"]
    (folder / "predictions.parquet").write_text(f"{PATIENTS[0]},{PATIENTS[1]}/slice-7.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        with Tracking(_settings(), of, CHAIN, "natural", folder) as tracking:
            for epoch in range(2):
                row = {"epoch": epoch, "train_loss": 1.5 - epoch, "accuracy": 0.25 + epoch / 4}
                tracking.log_epoch(row)
            content = record_content(of)
            content["metrics"]["accuracy"] = {**content["metrics"]["accuracy"], "p75": 0.8125}
            content["plateau"]["reached"] = False
            tracking.log_record(Record.model_validate(content))
    return _read(folder)


def test_the_run_is_found_by_study_process_stage_and_tags(tracked: Tracked) -> None:
    run, of = tracked.run, recipe()
    assert run.project == "relay-tests"
    assert run.run_id == of.id[:16]  # stable: a resumed run is the same one
    assert run.run_group == "paper/natural"
    assert run.job_type == "dld"
    assert run.display_name == "natural-dld-seed3-0.2"
    assert set(run.tags) == {"dld", "seed 3", "ratio 0.2", "rule feature"}


def test_config_is_the_recipe_with_its_id_and_chain(tracked: Tracked) -> None:
    of = recipe()
    config = {key: value for key, value in tracked.config.items() if key != "_wandb"}
    expected = json.loads(of.canonical_json()) | {"id": of.id, "chain": list(CHAIN)}
    assert config == expected


def test_history_has_a_step_an_epoch(tracked: Tracked) -> None:
    assert [(row["_step"], row["epoch"]) for row in tracked.history] == [(0, 0), (1, 1)]
    assert [row["train_loss"] for row in tracked.history] == [1.5, 0.5]
    assert [row["accuracy"] for row in tracked.history] == [0.25, 0.5]


def test_summary_is_the_representative_values(tracked: Tracked) -> None:
    assert tracked.summary["accuracy_p75"] == 0.8125
    assert tracked.summary["f1_score_macro_p75"] == 0.75
    assert tracked.summary["plateau_reached"] is False
    assert tracked.summary["epochs"] == 7
    assert tracked.summary["images_per_second"] == 100.0


def test_the_confusion_matrix_is_a_table(tracked: Tracked) -> None:
    (file,) = tracked.folder.glob("wandb/offline-run-*/files/media/table/*.json")
    table = json.loads(file.read_text())
    assert table["columns"] == ["true class", "CON", "GGO"]
    assert table["data"] == [["CON", 1, 0], ["GGO", 1, 1]]


def test_no_byte_names_a_patient_or_a_sample(tracked: Tracked) -> None:
    written = [path for path in (tracked.folder / "wandb").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in written)
    for path in written:
        content = path.read_bytes()
        for name in (*PATIENTS, "slice-7", "predictions"):
            assert name.encode() not in content, path


def test_success_is_exit_code_zero(tracked: Tracked) -> None:
    assert tracked.exit_code == 0


def test_failure_ends_the_run_with_a_code(tmp_path: Path) -> None:
    of = recipe(parent=None, transfer=None, seed=4)
    with pytest.raises(RuntimeError, match="diverged"), Tracking(_settings(), of, ("dld",), None, tmp_path):
        raise RuntimeError("diverged")
    failed = _read(tmp_path)
    assert failed.exit_code == 1
    assert failed.run.run_group == "paper/sources"
    assert "rule none" in failed.run.tags


def test_disabled_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("W&B was started"))
    of = recipe()
    with Tracking(_settings("disabled"), of, CHAIN, "natural", tmp_path) as tracking:
        tracking.log_epoch({"epoch": 0, "train_loss": 1.0})
        tracking.log_record(Record.model_validate(record_content(of)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "mode", "key", "login", "expected"),
    [
        ("auto", None, None, None, "offline"),
        ("auto", None, "k" * 40, None, "online"),
        ("auto", None, "", None, "offline"),
        ("auto", None, None, "api.wandb.ai", "online"),
        ("auto", None, None, "github.com", "offline"),
        ("auto", "offline", "k" * 40, "api.wandb.ai", "offline"),
        ("auto", "disabled", "k" * 40, None, "disabled"),
        ("auto", "online", None, None, "online"),
        ("offline", None, "k" * 40, "api.wandb.ai", "offline"),
        ("online", None, None, None, "online"),
        ("disabled", None, "k" * 40, None, "disabled"),
        ("disabled", "online", "k" * 40, None, "disabled"),
    ],
)
def test_mode(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    mode: str | None,
    key: str | None,
    login: str | None,
    expected: str,
) -> None:
    login_file = tmp_path / "netrc"
    if login is not None:
        login_file.write_text(f"machine {login}\n  login user\n  password {'p' * 40}\n")
    monkeypatch.setenv("NETRC", str(login_file))
    for name, value in (("WANDB_MODE", mode), ("WANDB_API_KEY", key)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert wandb_mode(setting) == expected


def test_login_counts_for_its_host_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login_file = tmp_path / "netrc"
    login_file.write_text(f"machine wandb.example.org\n  login user\n  password {'p' * 40}\n")
    monkeypatch.setenv("NETRC", str(login_file))
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8443")
    assert wandb_mode("auto") == "online"


def test_a_login_file_that_is_not_one_is_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login_file = tmp_path / "netrc"
    login_file.write_text("nonsense of some kind")
    monkeypatch.setenv("NETRC", str(login_file))
    assert wandb_mode("auto") == "offline"
