"""Weights & Biases offline: its own files are read back, and nothing in them names a patient."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from callbacks import Tracking
from stages.config import LoggerConfig
from stages.machine import wandb_login
from stages.machine.wandb_login import fitting, leave_agent, wandb_mode, why_not_now
from stages.record import Record
from tests.helpers.stage_helpers import PROJECT, recipe, record_content
from tests.helpers.wandb_files import Tracked, away, read_tracked

CHAIN = ("natural", "dld")
PATIENTS = ("patient-Meyer-1951", "patient-Schmidt-1948")


def _settings(mode: str = "offline") -> LoggerConfig:
    return LoggerConfig(wandb=mode, project="relay-tests", entity=None, study="paper")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("wandb-home")
    with away(folder):
        yield folder


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
            content["metrics"]["accuracy"] = {**content["metrics"]["accuracy"], "p75": 0.8125, "mean": 0.8}
            content["plateau"] |= {"reached": False, "learning": False}
            tracking.log_record(Record.model_validate(content))
    return read_tracked(folder)


def test_the_run_is_found_by_study_process_stage_and_tags(tracked: Tracked) -> None:
    run, of = tracked.run, recipe()
    assert run.project == "relay-tests"
    assert run.run_id == of.id[:16]  # stable: a resumed run is the same one
    assert run.run_group == "paper/natural"
    assert run.job_type == "dld"
    assert run.display_name == "natural-dld-seed3-0.2"
    tags = {"dld", "process natural", "seed 3", "ratio 0.2", "rule feature"}
    assert set(run.tags) == tags  # while it trains
    assert tracked.tags == tags | {"plateau not reached", "not learning"}


def test_a_resumed_run_goes_on_offline_too(tracked: Tracked) -> None:
    assert tracked.run.resume  # else `wandb sync` lets its later file replace the earlier one


def test_config_is_the_recipe_and_what_runs_are_grouped_by(tracked: Tracked) -> None:
    of = recipe()
    config = {key: value for key, value in tracked.config.items() if not key.startswith("_wandb")}
    assert config == json.loads(of.canonical_json()) | {
        "id": of.id,
        "chain": list(CHAIN),
        "study": "paper",
        "role": "target",
        "process": "natural",
        "data_ratio": 0.2,
        "process_and_ratio": "natural 0.2",
    }


def test_history_has_a_step_an_epoch(tracked: Tracked) -> None:
    assert [(row["_step"], row["epoch"]) for row in tracked.history] == [(0, 0), (1, 1)]
    assert [row["train_loss"] for row in tracked.history] == [1.5, 0.5]
    assert [row["accuracy"] for row in tracked.history] == [0.25, 0.5]


def test_summary_is_the_representative_values(tracked: Tracked) -> None:
    assert tracked.summary["accuracy_p75"] == 0.8125
    assert tracked.summary["f1_score_macro_p75"] == 0.75
    assert tracked.summary["accuracy_mean"] == 0.8
    assert tracked.summary["plateau_reached"] is False
    assert tracked.summary["learning"] is False
    assert tracked.summary["epochs"] == 7
    assert tracked.summary["images_per_second"] == 100.0


def test_the_representative_values_are_a_row_of_a_table(tracked: Tracked) -> None:
    table = tracked.table("representative_values")
    (row,) = table["data"]
    assert dict(zip(table["columns"], row, strict=True)) == {
        "process": "natural",
        "chain": "natural>dld",
        "data_ratio": 0.2,
        "seed": 3,
        "folds": None,
        "fold": None,
        "plateau_reached": False,
        "learning": False,
        "epochs": 7,
        "accuracy_p75": 0.8125,
        "f1_score_macro_p75": 0.75,
        "accuracy_mean": 0.8,
        "f1_score_macro_mean": 0.55,
    }


def test_the_confusion_matrix_is_a_figure_of_counts(tracked: Tracked) -> None:
    """By hand: 1 CON is taken for CON, of 2 GGO one for CON."""
    figure = tracked.config["_wandb.visualize.confusion_matrix"]["panel_config"]
    assert figure["panelDefId"] == "wandb/confusion_matrix/v1"
    table = tracked.table("confusion_matrix_table")
    assert set(figure["fieldSettings"].values()) <= set(table["columns"])
    assert table["columns"] == [
        "Actual",
        "Predicted",
        "nPredictions",
        "process",
        "chain",
        "data_ratio",
        "seed",
        "folds",
        "fold",
    ]
    assert [row[:3] for row in table["data"]] == [
        ["CON", "CON", 1],
        ["CON", "GGO", 0],
        ["GGO", "CON", 1],
        ["GGO", "GGO", 1],
    ]
    assert {tuple(row[3:]) for row in table["data"]} == {("natural", "natural>dld", 0.2, 3, None, None)}


def test_no_byte_names_a_patient_or_a_sample(tracked: Tracked, home: Path) -> None:
    """Nor what waits outside the run's folder to be sent: copies of the tables."""
    written = [
        path for root in (tracked.folder / "wandb", home) for path in root.rglob("*") if path.is_file()
    ]
    assert any(path.is_relative_to(home) for path in written)
    assert any(path.suffix == ".wandb" for path in written)
    for path in written:
        content = path.read_bytes()
        for name in (*PATIENTS, "slice-7", "predictions"):
            assert name.encode() not in content, path


def test_the_machine_is_not_named(tracked: Tracked) -> None:
    assert tracked.run.host == ""


def test_success_is_exit_code_zero(tracked: Tracked) -> None:
    assert tracked.exit_code == 0


def test_failure_ends_the_run_with_a_code(tmp_path: Path) -> None:
    of = recipe(parent=None, transfer=None, seed=4)
    with pytest.raises(RuntimeError, match="diverged"), Tracking(_settings(), of, ("dld",), None, tmp_path):
        raise RuntimeError("diverged")
    failed = read_tracked(tmp_path)
    assert failed.exit_code == 1
    assert failed.run.run_group == "paper/sources"
    assert failed.tags == {"dld", "source", "seed 4", "ratio 0.2", "rule none"}
    assert (failed.config["role"], failed.config["process"]) == ("source", None)


def test_a_fold_is_in_the_name_the_tags_and_the_configuration(tmp_path: Path) -> None:
    with Tracking(_settings(), recipe(folds=5, fold=2), CHAIN, "natural", tmp_path):
        pass
    found = read_tracked(tmp_path)
    assert found.run.display_name == "natural-dld-seed3-0.2-fold2of5"
    assert "fold 2 of 5" in found.tags
    assert (found.config["folds"], found.config["fold"]) == (5, 2)


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
        ("auto", None, None, "api.forge.coreweave.com", "online"),
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
    assert _mode(setting) == expected


def _mode(setting: str) -> object:
    """The mode in a process that starts now: W&B reads its settings once."""
    wandb.teardown()
    try:
        return wandb_mode(setting)
    finally:
        wandb.teardown()


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_what_wandb_offline_and_wandb_disabled_have_left_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """With a login too: else images' results would be sent against the user's word."""
    (tmp_path / "settings").write_text(f"[default]\nmode = {mode}\n")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert _mode("auto") == mode
    assert _mode("online") == "online", "typed for Relay"


def test_the_server_of_wandb_login_is_asked_for_its_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    (tmp_path / "netrc").write_text(f"machine wandb.example.org\n  login user\n  password {'p' * 40}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert _mode("auto") == "offline"
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    assert _mode("auto") == "online"


@pytest.mark.parametrize("typed", ["false", ""])
def test_a_mode_that_is_none_is_said_and_not_used(
    typed: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", typed)
    assert _mode("auto") == "offline"
    assert ("WANDB_MODE=false is none of online, offline, disabled" in caplog.text) == bool(typed)


def test_a_server_that_failed_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb 10669: it costs each run a minute and a half."""
    monkeypatch.setattr(wandb_login, "_gave_up", set())
    tried = []

    def init(mode: str, **_: object) -> object:
        tried.append(mode)
        if mode == "online":
            raise wandb.Error("Run initialization has timed out after 90.0 sec.")
        return SimpleNamespace(finish=lambda exit_code: None)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing is asked before W&B itself is
    for _ in range(3):
        with Tracking(_settings("online"), recipe(), CHAIN, "natural", tmp_path):
            pass
    assert tried == ["online", "offline", "offline", "offline"]


def test_login_counts_for_its_host_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login_file = tmp_path / "netrc"
    login_file.write_text(f"machine wandb.example.org\n  login user\n  password {'p' * 40}\n")
    monkeypatch.setenv("NETRC", str(login_file))
    assert _mode("auto") == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8443")
    assert _mode("auto") == "online"


def test_a_login_file_that_is_not_one_is_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login_file = tmp_path / "netrc"
    login_file.write_text("nonsense of some kind")
    monkeypatch.setenv("NETRC", str(login_file))
    assert _mode("auto") == "offline"


@contextmanager
def _server(answer: int) -> Iterator[str]:
    """A server that answers every question with a code."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(answer)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("answers", [None, 500, 401])
def test_a_server_that_fails_fails_no_training(
    answers: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """None: nobody listens there."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(wandb_login, "SECONDS_TO_START", 4.0)
    wandb.teardown()
    with _server(answers or 500) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address if answers else "http://127.0.0.1:9")
        assert (why_not_now() is None) == (answers == 401), "W&B's own start tells what a login is worth"
        with Tracking(_settings("online"), recipe(), CHAIN, "natural", tmp_path) as tracking:
            tracking.log_epoch({"epoch": 0, "train_loss": 1.0})
    assert "This run is logged offline" in caplog.text
    assert read_tracked(tmp_path).history[0]["train_loss"] == 1.0


def test_names_longer_than_it_takes_are_cut_and_stay_apart(tmp_path: Path) -> None:
    long = [f"{'s' * 63}{number}" for number in range(4)]
    of = recipe(stage="t" * 64)
    with Tracking(_settings(), of, long, f"{'p' * 200}+between=feature", tmp_path):
        pass
    run = read_tracked(tmp_path).run
    assert len(run.display_name) == len(run.run_group) == 128
    assert all(len(tag) <= 64 for tag in run.tags)
    assert fitting("a" * 129, 128) != fitting("a" * 130, 128)


def test_an_error_while_logging_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def __getattr__(self, name: str) -> object:
            raise wandb.Error("the disk is full")

    monkeypatch.setattr(wandb, "init", lambda **_: Failing())
    of = recipe()
    with Tracking(_settings(), of, CHAIN, "natural", tmp_path) as tracking:
        tracking.log_epoch({"epoch": 0, "train_loss": 1.0})
        tracking.log_record(Record.model_validate(record_content(of)))
    assert caplog.text.count("W&B failed") == 3


@pytest.mark.parametrize(("stage_runs", "expected"), [(1, "agents"), (2, recipe().id[:16])])
def test_an_agents_run_holds_one_stage_run(
    stage_runs: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B would give its id to each stage run of the command that `wandb agent` started."""
    wandb.teardown()
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    leave_agent(stage_runs)
    with Tracking(_settings(), recipe(), CHAIN, "natural", tmp_path):
        pass
    wandb.teardown()
    assert read_tracked(tmp_path).run.run_id == expected
