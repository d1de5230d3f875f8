"""Ctrl-C and requests to end come out as what they are, in the middle of a native library's work too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from callbacks import checkpoint
from callbacks.checkpoint import save_whole
from stages.machine import signals
from stages.machine.signals import end_as_after_ctrl_c, ending_signal, held_back
from tests.helpers.stage_helpers import PROJECT


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    before, done = signal.getsignal(signal.SIGINT), list[str]()

    def work() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"] and signal.getsignal(signal.SIGINT) is before
    with held_back():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_a_request_to_end_is_held_back_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr("stages.machine.signals._received", signal.SIGINT)

    def work() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            assert ending_signal() is signal.SIGINT, "not yet"

    try:
        end_as_after_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            work()
        assert ending_signal() is signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU])
def test_a_schedulers_warning_ends_a_program_unless_it_has_a_use(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning 21406 and submitit 1709: Python's own answer is to end at once, without a word."""
    before = {each: signal.getsignal(each) for each in signals._ENDING}
    monkeypatch.setattr(signals, "_received", signal.SIGINT)
    heard: list[int] = []
    try:
        signal.signal(number, lambda number, _: heard.append(number))  # as submitit's in a job of Slurm
        end_as_after_ctrl_c()
        os.kill(os.getpid(), number)
        assert heard == [number]
        signal.signal(number, signal.SIG_DFL)
        end_as_after_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert ending_signal() is number
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_ctrl_c_while_torch_writes_is_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, path = checkpoint._Remembering.write, tmp_path / "last.ckpt"

    def interrupted(file: checkpoint._Remembering, data: object) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return write(file, data)

    monkeypatch.setattr(checkpoint._Remembering, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_whole({"weights": torch.zeros(1000)}, path)
    assert list(tmp_path.iterdir()) == [], "whole or not at all"


def test_a_process_whose_parent_went_before_it_began_ends() -> None:
    """As a worker of joblib whose sweep is killed while the worker starts."""
    code = (
        "import time; from stages.machine.signals import end_with_parent; end_with_parent({}); time.sleep({})"
    )
    another = os.getppid()
    for parent, seconds, expected in ((another, 20, 1), (os.getpid(), 0, 0)):
        line = [sys.executable, "-c", code.format(parent, seconds)]
        done = subprocess.run(line, cwd=PROJECT, check=False, timeout=15)
        assert done.returncode == expected
