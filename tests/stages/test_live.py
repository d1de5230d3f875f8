"""The line on how a sweep stands, read from a store that changes under it."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

import stages.console.live
import stages.console.output
from stages.console.live import LiveLine, Standing
from stages.console.output import log_handler
from stages.cost import RecordedSpeeds, Sample, work_of
from stages.machine.lock import RunLock, is_held
from stages.outcome import Outcome
from stages.plan import Plan
from stages.store import Store
from tests.helpers.stage_helpers import PROJECT, by_chain, complete, plan_of, request

CHAINS = [request("natural", "dld"), request("texture", "dld")]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def outcomes_of(plan: Plan) -> dict[str, Outcome]:
    return {run_id: Outcome(run_id, "complete") for run_id in plan.runs}


def test_runs_go_from_waiting_to_running_to_done_and_failed(tmp_path: Path) -> None:
    plan, store, clock = plan_of(*CHAINS), Store(tmp_path), Clock()
    runs = by_chain(plan)
    natural, texture = runs["natural",], runs["texture",]
    speeds = RecordedSpeeds([Sample(work_of(plan, run), 1, 100.0) for run in plan.runs.values()])
    line = LiveLine(plan, plan.missing(store), store, speeds, clock)
    line.launched([natural, texture], outcomes_of(plan))
    assert line.look() == Standing(done=0, running=0, waiting=4, failed=0, seconds_left=400.0)
    for run in (natural, texture):
        store.folder(run.stage, run.id).path.mkdir(parents=True)
    first = RunLock(store.folder("natural", natural.id).path)
    second = RunLock(store.folder("texture", texture.id).path)
    with second:
        with first:
            assert line.look() == Standing(0, 2, 2, 0, 400.0 / 2)
            clock.now = 30.0
            assert line.look().seconds_left == pytest.approx((400.0 - 60.0) / 2)
        store.folder("natural", natural.id).failure.write_text("the loss is not finite")
        # Blocked runs are known when the batch has ended; two at once were seen.
        assert line.look() == Standing(0, 1, 2, 1, pytest.approx((70.0 + 200.0) / 2))
    complete(store, texture)
    standing = line.look()
    assert (standing.done, standing.running, standing.waiting, standing.failed) == (1, 0, 2, 1)

    outcomes = outcomes_of(plan)
    outcomes[natural.id] = Outcome(natural.id, "failed", "the loss is not finite")
    outcomes[texture.id] = Outcome(texture.id, "trained")
    blocked = runs["natural", "dld"].id
    outcomes[blocked] = Outcome(blocked, "blocked", "its parent failed")
    line.launched([runs["texture", "dld"]], outcomes)
    standing = line.look()
    assert (standing.done, standing.running, standing.waiting, standing.failed) == (1, 0, 1, 2)


def test_what_was_complete_before_the_sweep_is_not_counted(tmp_path: Path) -> None:
    plan, store = plan_of(*CHAINS), Store(tmp_path)
    complete(store, by_chain(plan)["natural",])
    line = LiveLine(plan, plan.missing(store), store, RecordedSpeeds())
    line.launched([by_chain(plan)["texture",], by_chain(plan)["natural", "dld"]], outcomes_of(plan))
    assert line.look() == Standing(0, 0, 3, 0, None)


def test_a_finished_run_tells_the_time_of_the_others(tmp_path: Path) -> None:
    """7 epochs of 7 images in 10 s; planned are 100 images. A damaged record tells nothing."""
    plan, store = plan_of(*(request("dld", seed=seed) for seed in range(3))), Store(tmp_path)
    first, second, _ = plan.runs.values()
    line = LiveLine(plan, plan.missing(store), store, RecordedSpeeds())
    line.launched(list(plan.runs.values()), outcomes_of(plan))
    store.folder("dld", first.id).path.mkdir(parents=True)
    store.folder("dld", first.id).record.write_text("{")
    assert line.look() == Standing(1, 0, 2, 0, None)
    complete(store, second)
    left = line.look().seconds_left
    assert left == pytest.approx(10.0)  # the recorded run stands for one like it


def test_a_dead_holder_is_not_at_work(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with RunLock(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    script = f"from pathlib import Path; from stages.machine.lock import RunLock; import os\nRunLock(Path({str(tmp_path)!r})).__enter__(); os.kill(os.getpid(), 9)"  # noqa: E501
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=False, timeout=60)
    holder = tmp_path / ".holder.json"
    assert holder.exists()
    assert not is_held(tmp_path)
    content = holder.read_text()
    holder.write_text(content.replace('"host": "', '"host": "another-'))
    assert is_held(tmp_path), "of another machine nothing is known"
    holder.write_text(content.replace('"namespace": ', '"namespace": 1'))
    assert is_held(tmp_path), "nor of another container with the same name"
    holder.write_text("{")
    assert not is_held(tmp_path)


def test_the_line_in_words() -> None:
    assert str(Standing(3, 2, 7, 1, 720.0)) == "3 done, 2 running, 7 waiting, 1 failed; about 12 min left"
    assert str(Standing(0, 0, 7, 0, None)) == "0 done, 0 running, 7 waiting, 0 failed; time left unknown"


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveLine:
    monkeypatch.setattr(stages.console.live, "SECONDS_BETWEEN_LOOKS", 0.01)
    plan, store = plan_of(*CHAINS), Store(tmp_path)
    return LiveLine(plan, plan.missing(store), store, RecordedSpeeds())


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_the_line_is_taken_away_however_the_wait_ends(
    line: LiveLine, error: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(stages.console.live, "output", lambda: terminal)
    before = threading.active_count()
    try:
        with line.during([], {}):
            _until(lambda: "0 done, 0 running, 4 waiting, 0 failed" in _text(terminal))
            if error is not None:
                raise error
    except (KeyboardInterrupt, RuntimeError) as raised:
        assert type(raised) is error  # noqa: PT017
    _until(lambda: threading.active_count() == before)  # rich's thread, which draws, may end a little later
    assert _text(terminal).endswith("\x1b[?25h\r\x1b[1A\x1b[2K"), "the cursor is back and the line erased"


def test_without_a_terminal_a_line_a_minute(line: LiveLine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, console = Clock(), Console(file=io.StringIO())
    monkeypatch.setattr(stages.console.live, "output", lambda: console)
    line._clock = clock
    with line.during([], {}):
        time.sleep(0.1)
        assert _text(console) == "", "not before a minute has passed"
        clock.now = 61.0
        _until(lambda: _text(console) != "")
        time.sleep(0.1)
    assert _text(console) == "0 done, 0 running, 4 waiting, 0 failed; time left unknown\n"


def test_messages_go_above_the_line(line: LiveLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both write to the process's one console, which then knows where the line is."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    for module in (stages.console.output, stages.console.live):
        monkeypatch.setattr(module, "output", lambda: terminal)
    monkeypatch.setattr(logging.getLogger(), "handlers", [log_handler()])
    with line.during([], {}):
        _until(lambda: "4 waiting" in _text(terminal))
        logging.getLogger("anyone").error("natural failed")
    said = _text(terminal)
    assert re.search(r"\x1b\[2K[^\n]*ERROR[^\n]*natural failed", said), "the line is erased first"


def test_an_error_of_the_line_does_not_end_the_sweep(
    line: LiveLine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Standing:
        raise OSError("stale file handle")

    monkeypatch.setattr(line, "look", broken)
    with line.during([], {}):
        _until(lambda: bool(caplog.messages))
    assert caplog.messages == ["The status line of the sweep ended: OSError: stale file handle"]


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
