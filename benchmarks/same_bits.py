"""Whether a machine keeps what the project says of bits: ids, repetition, resuming, two devices.

Small stage runs are trained by the command line, as a user does, and killed as a machine kills them.
"""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

_PROJECT = Path(__file__).resolve().parent.parent
_SMALL = (
    "model.width=0.125", "data.image_size=64", "data.domains.natural.train_images=512",
    "data.domains.natural.val_images=64", "optim.batch_size=32", "callbacks.progress=false",
    "callbacks.plateau.max_epochs=6", "callbacks.plateau.length=6", "trainer.checkpoint_seconds=0",
    "logger.wandb=disabled",
)  # fmt: skip


def checks(folder: Path) -> list[tuple[str, bool]]:
    """What was tried, and whether it holds.

    Args:
        folder: an empty one for the stores.
    """
    whole = train(folder / "whole", folder)
    again = train(folder / "again", folder)
    resumed = train_killed(folder / "killed", folder)
    found = [
        ("the same command plans the same id", id_of(whole) == id_of(again)),
        ("trained again: the same weights, bit by bit", weights_of(whole) == weights_of(again)),
        ("killed (SIGKILL) and resumed: the same weights", weights_of(whole) == weights_of(resumed)),
    ]
    kind = "GPUs" if torch.cuda.device_count() > 1 else "processes on the CPU"
    two = ("trainer.devices=2", *(() if kind == "GPUs" else ("trainer.accelerator=cpu",)))
    first, second = (train(folder / f"two-{number}", folder, *two) for number in (1, 2))
    found.append((f"two {kind} (DDP), twice: the same weights", weights_of(first) == weights_of(second)))
    return found


def command(store: Path, folder: Path, *more: str) -> list[str]:
    """A small stage run, as it is typed."""
    paths = [f"paths.runs_dir={store}", f"paths.cache_dir={folder / 'cache'}"]
    return [sys.executable, str(_PROJECT / "train.py"), "+stage=natural", *_SMALL, *paths, *more]


def train(store: Path, folder: Path, *more: str) -> Path:
    """Train the run to its end; its folder.

    Raises:
        RuntimeError: if it fails, with what was printed.
    """
    done = subprocess.run(command(store, folder, *more), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    (record,) = store.glob("natural/*/record.json")
    return record.parent


def train_killed(store: Path, folder: Path) -> Path:
    """The same run, killed once it has written a checkpoint, then started again."""
    process = subprocess.Popen(
        command(store, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not list(store.glob("natural/*/last.ckpt")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return train(store, folder)


def id_of(run: Path) -> str:
    """The full id that a run's record has."""
    return str(_record(run)["id"])


def weights_of(run: Path) -> str:
    """SHA-256 of the trained weights, of their values and not of the file."""
    weights = torch.load(run / "model.ckpt", weights_only=True)
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _record(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "record.json").read_text())
    return content
