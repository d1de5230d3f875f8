"""Starting `train.py` as a user does, on chains small enough for a test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

PROJECT = Path(__file__).resolve().parents[2]

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
    "optim.batch_size=8",
    "optim.warmup_steps=2",
    "callbacks.plateau.max_epochs=3",
    "callbacks.plateau.length=2",
    "trainer.precision=32-true",
    "trainer.memory_format=contiguous",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "logger.wandb=disabled",
)


def environment() -> dict[str, str]:
    """One thread a process, and no W&B account of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    return {**kept, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "COLUMNS": "200"}


def command(
    *arguments: str,
    runs_dir: Path,
    cache_dir: Path,
    tiny: Sequence[str] = TINY,
    last: Sequence[str] = (),
    script: Path = PROJECT / "train.py",
) -> list[str]:
    """A command line of `train.py`; `last` wins over the tiny settings."""
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
) -> subprocess.CompletedProcess[str]:
    """Run `train.py` to its end, in another folder if asked."""
    return subprocess.run(
        command(*arguments, runs_dir=runs_dir, cache_dir=cache_dir, tiny=tiny, last=last),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def start(
    *arguments: str, runs_dir: Path, cache_dir: Path, last: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start `train.py` and go on; standard output and error are read as one."""
    return subprocess.Popen(
        command(*arguments, runs_dir=runs_dir, cache_dir=cache_dir, last=last),
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_until(
    condition: Callable[[], bool],
    *arguments: str,
    runs_dir: Path,
    cache_dir: Path,
    how: int = signal.SIGKILL,
    last: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Start `train.py` and send a signal as soon as a condition holds (or let it end before)."""
    process = subprocess.Popen(
        command(*arguments, runs_dir=runs_dir, cache_dir=cache_dir, last=last),
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.001)
    if process.poll() is None:
        process.send_signal(how)
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


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
