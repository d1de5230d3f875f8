"""The environment of a run (versions, commit, machine): recorded with the result, never part of its id."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from stages.record import OriginRecord

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy", "hydra-core", "pillow")
# What is trained by: stages, processes and other files of conf/ are in the recipe.
_CODE = (
    "train.py",
    *(
        f":(glob){room}/**/*.py"
        for room in ("callbacks", "datamodules", "hydra_plugins", "lightning_modules", "stages")
    ),
)
_PROCESSOR = Path("/proc/cpuinfo")
_PROJECT = Path(__file__).resolve().parent.parent


def environment(device: str) -> OriginRecord:
    """Versions, commit and machine of this process.

    Args:
        device: name of the device that it ran on.
    """
    return OriginRecord(
        versions=package_versions(),
        git_commit=_git("rev-parse", "HEAD"),
        git_dirty=None if (status := _git("status", "--porcelain", "--", *_CODE)) is None else bool(status),
        machine={
            "host": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "processor": processor_name(),
            "device": device,
            "cores": str(os.cpu_count()),
            "memory_gib": f"{psutil.virtual_memory().total / 1024**3:.0f}",
        },
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def package_versions() -> dict[str, str]:
    """Versions of Python and of what computes."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def device_name(accelerator: str) -> str:
    """The name of what computes: the GPU's, or the processor's."""
    if accelerator in ("gpu", "cuda"):
        import torch

        return torch.cuda.get_device_name()
    return processor_name()


def processor_name() -> str:
    """The processor's name, as its maker writes it where Linux says it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _PROCESSOR.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """The most memory that this process has used so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _git(*arguments: str) -> str | None:
    if not (_PROJECT / ".git").exists():  # installed: a repository around it is not Relay's
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(_PROJECT), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
