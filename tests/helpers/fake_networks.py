"""A store of networks with random weights, and `predict.py` typed to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from analysis.prediction.arguments import parse_arguments
from lightning_modules.build import build_network
from predict import predict
from tests.helpers.fake_study import FakeStudy
from tests.helpers.stage_helpers import seal

SIZE = 63  # of the network's input; the images have 32 pixels
CLASSES = ("=CON", 'a,"b"', "GGO")


def write_networks(folder: Path) -> Path:
    """Two processes at two seeds and two ratios; each run has a deviation of its own."""
    study = FakeStudy(
        processes=("scratch", "two_stage"), seeds=(0, 1), ratios=(0.4, 1.0), width=0.0625, classes=CLASSES
    )
    for number, run in enumerate(study.write(folder)):
        content = json.loads(run.record.read_text())
        torch.save(
            build_network("alexnet", len(CLASSES), width=0.0625, seed=number).state_dict(), run.weights
        )
        content["data"]["image_size"] = SIZE
        content["input"] = {
            "mean": [0.4, 0.4, 0.4], "std": [0.1 + 0.1 * number] * 3, "color": False, "window": None,
            "decode_size": None, "precision": "32-true", "memory_format": "contiguous",
        }  # fmt: skip
        seal(run, content)
    return folder


def typed(store: Path, source: Path | str, out: Path, *more: str, process: str = "two_stage") -> list[str]:
    """What is typed behind `predict.py`; without a process where `more` names runs."""
    which = [] if any(each.startswith("run=") for each in more) else [f"process={process}"]
    return [f"runs_dir={store}", *which, f"source={source}", f"out={out}", "threads=1", "device=cpu", *more]


def predicted(store: Path, source: Path | str, out: Path, *more: str) -> Sequence[str]:
    """`predict.py`, in this process: what it says at the end."""
    return predict(parse_arguments(typed(store, source, out, *more)))
