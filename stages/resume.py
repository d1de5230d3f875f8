"""Resume checkpoints: whether one may be used, and what it holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.machine.archive import seal_fault
from stages.machine.pickles import room_fault

IDENTITY = "relay"
"""The key under which a checkpoint says of which training it is."""


def read_checkpoint(
    path: Path, identity: Mapping[str, str | None], *, mapped: bool = False
) -> tuple[dict[str, Any], str | None]:
    """Read a resume checkpoint without unpickling anything but tensors and plain data.

    Args:
        path: the file.
        identity: of which training it must be, such as `Job.identity`.
        mapped: whether its tensors may stay in the file.

    Returns:
        What it holds, and why it cannot be used (then it holds nothing), None if it can.
    """
    import torch  # seconds, where no checkpoint is read

    if damage := seal_fault(path) or room_fault(path):
        return {}, damage
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        return {}, f"it cannot be read ({type(error).__name__})"
    if not isinstance(content, dict) or "state_dict" not in content:
        return {}, "it is not a checkpoint"
    found = content.get(IDENTITY)
    if not isinstance(found, dict):
        return {}, "it does not say of which stage run it is"
    others = [name for name, value in identity.items() if found.get(name) != value]
    return (content, None) if not others else ({}, f"it is of another {', another '.join(others)}")
