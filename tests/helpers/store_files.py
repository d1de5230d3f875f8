"""What tests of killed runs look up in a store while others write to it."""

import json
from pathlib import Path
from typing import Any


def holder(stage: Path) -> dict[str, Any]:
    """Who holds the lock of a stage's only run that is being trained."""
    (path,) = stage.glob("*/.holder.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def attempt(**changes: Any) -> dict[str, Any]:
    """The record of an attempt that completed a run."""
    values: dict[str, Any] = {
        "started": "2025-01-01T00:00:00+00:00",
        "host": "node1",
        "device": "AMD EPYC 9V74",
        "threads": 2,
        "cores": 2,
        "torch": "2.14.1",
        "first_epoch": 0,
        "epochs": 7,
        "seconds": 10.0,
        "peak_memory_bytes": 1024,
        "ended": "complete",
    }
    return values | changes
