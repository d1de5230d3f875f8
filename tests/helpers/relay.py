"""Starting `train.py` as a user does, on chains small enough for a test."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tests.helpers.programs import PROJECT, Program, environment, run_program

# A sixteenth of AlexNet's channels on some dozens of images: a stage run takes about a second.
TINY = (
    "model.width=0.0625",
    "data.image_size=63",
    "data.domains.natural.classes=3",
    "data.domains.natural.train_images=24",
    "data.domains.natural.val_images=12",
    "data.domains.natural.size=32",
    "data.domains.texture.classes=4",
    "data.domains.texture.train_images=24",
    "data.domains.texture.val_images=12",
    "data.domains.texture.size=32",
    "data.domains.dld.train_images=42",
    "data.domains.dld.val_images=21",
    "data.domains.natural.augment=null",
    "data.augment=none",
    "optim.lr_scratch=0.03",
    "optim.lr_transfer=0.006",
    "optim.gradient_clip_scratch=1.0",
    "optim.gradient_clip_transfer=null",
    "optim.batch_size=8",
    "optim.warmup_steps=2",
    "callbacks.plateau.min_delta=0.01",
    "callbacks.plateau.patience=4",
    "callbacks.plateau.smoothing=2",
    "callbacks.plateau.max_epochs=3",
    "callbacks.plateau.length=2",
    "trainer.precision=32-true",
    "trainer.memory_format=contiguous",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "logger.wandb=disabled",
)


def command(
    *arguments: str,
    runs_dir: Path,
    cache_dir: Path,
    tiny: Sequence[str] = TINY,
    last: Sequence[str] = (),
    script: Path = PROJECT / "train.py",
) -> list[str]:
    """A command line of `train.py`, Python first; `last` wins over the tiny settings."""
    return [
        sys.executable,
        str(script),
        *arguments,
        *tiny,
        f"paths.runs_dir={runs_dir}",
        f"paths.cache_dir={cache_dir}",
        *last,
    ]


def run(
    *arguments: str,
    runs_dir: Path,
    cache_dir: Path,
    tiny: Sequence[str] = TINY,
    last: Sequence[str] = (),
    cwd: Path = PROJECT,
    fresh: bool = False,
    python: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `train.py` to its end; `fresh` starts Python itself, seconds slower. Else see `Program`."""
    line = command(*arguments, runs_dir=runs_dir, cache_dir=cache_dir, tiny=tiny, last=last)
    if not fresh:
        return run_program(line[1:], cwd, python=python)
    return subprocess.run(
        line, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )


def start(
    *arguments: str, runs_dir: Path, cache_dir: Path, last: Sequence[str] = (), python: Path | None = None
) -> Program:
    """Start `train.py` and go on; standard output and error are read as one."""
    line = command(*arguments, runs_dir=runs_dir, cache_dir=cache_dir, last=last)
    return Program(line[1:], merged=True, python=python)


def run_until(
    condition: Callable[[], bool],
    *arguments: str,
    runs_dir: Path,
    cache_dir: Path,
    how: int = signal.SIGKILL,
    tiny: Sequence[str] = TINY,
    last: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Start `train.py` and send a signal as soon as a condition holds (or let it end before)."""
    line = command(*arguments, runs_dir=runs_dir, cache_dir=cache_dir, tiny=tiny, last=last)
    program = Program(line[1:])
    deadline = time.monotonic() + 120
    while program.poll() is None and not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.001)
    if program.poll() is None:
        program.send_signal(how)
    stdout, stderr = program.communicate(timeout=120)
    return subprocess.CompletedProcess(program.args, program.returncode, stdout, stderr)


def folders(runs_dir: Path, stage: str) -> list[Path]:
    """Folders of a stage's runs."""
    return sorted(path for path in (runs_dir / stage).iterdir() if path.is_dir())


def only_folder(runs_dir: Path, stage: str) -> Path:
    """The folder of a stage's only run."""
    (folder,) = folders(runs_dir, stage)
    return folder


def same_tensors(first: Path, second: Path) -> bool:
    """Whether two state dicts hold the same bits."""
    one = torch.load(first, weights_only=True)
    two = torch.load(second, weights_only=True)
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)
