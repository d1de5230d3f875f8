"""A small study of images with patients' names, as train.py leaves it, and what the command makes of it."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.report.explained_study import ExplainedStudy, load_explained
from analysis.visualize import explain, main, parse_arguments
from datamodules.from_config import load_source
from datamodules.listing import list_source
from datamodules.listing.hidden import with_hidden_names
from lightning_modules.build import build_network
from stages.config import config_document, source_of
from stages.store import RunFolder, Store
from tests.helpers.fake_study import FakeStudy
from tests.helpers.relay import folders
from tests.helpers.stage_helpers import manifest_config, seal

CLASSES = ("consolidation", "ground_glass", "normal")
PATIENTS = ("Meyer-1951", "Schmidt-1948", "Weber-1960")
PLANTED = re.compile("Meyer|Schmidt|Weber|slice-|ward-7|holiday")
SIZE, NATIVE, WIDTH = 63, 32, 0.0625

# What computes; none of them is called for what was computed before.
COMPUTING = (
    "analysis.explain.desalinet.backward",
    "analysis.explain.frequency.frequency_response",
    "analysis.explain.cka.layer_grams",
    "analysis.explain.insertion_deletion.curve",
    "analysis.explain.sanity_checks.randomisations",
)

FIGURES = {
    "randomisation",
    "deletion",
    "feature_maps",
    "frequency_response",
    "reference_image",
    "stage_changes",
    "process_similarity",
    "filters",
}
TABLES = {"map_checks", "map_agreement", "frequency_peaks", "stage_changes", "process_similarity"}


@dataclass(frozen=True)
class ExplainedStore:
    """A store that was explained with the command's defaults.

    `store` is as it was left, `printed` what the command said.
    """

    store: Path
    printed: str

    @property
    def explained(self) -> ExplainedStudy:
        return stored(self.store)


def write_store(folder: Path) -> None:
    """A store `runs` with scratch and two_stage at two seeds, on images that lie beside it in `ward-7`.

    All is there that train.py leaves but its checkpoints for resuming. The weights are random; a child's are
    its parent's, moved a little, so that seeds, processes and stages differ.
    """
    _write_lungs(folder / "ward-7")
    config = manifest_config(folder / "ward-7", folder / "cache")
    listing = list_source(source_of(config))
    side = with_hidden_names(load_source(listing, config), listing).val
    study = FakeStudy(
        processes=("scratch", "two_stage"),
        seeds=(0, 1),
        ratios=(1.0,),
        classes=CLASSES,
        image_size=SIZE,
        width=WIDTH,
        target_digest=listing.digest,
        evaluation=(side.labels, list(side.groups), list(side.samples)),
    )
    for run in study.write(folder / "runs"):
        run.config.write_text(config_document(config))
    for run in Store(folder / "runs").complete_runs():
        _write_weights(run)


def _write_weights(run: RunFolder) -> dict[str, torch.Tensor]:
    if run.weights.is_file():
        return torch.load(run.weights, weights_only=True)
    record = run.read_record()
    network = build_network("alexnet", len(CLASSES), width=WIDTH, seed=record.seed)
    weights = network.state_dict()
    if record.parent is not None:
        runs = Store(run.path.parent.parent).complete_runs()
        (parent,) = (each for each in runs if each.read_record().id == record.parent)
        generator = torch.Generator().manual_seed(record.seed)
        for name, value in _write_weights(parent).items():
            noise = torch.randn(value.shape, generator=generator)
            weights[name] = value + 0.2 * value.std() * noise
    torch.save(weights, run.weights)
    seal(run)
    return weights


def explain_store(store: Path) -> None:
    """Run the command on a store; what it prints goes into `printed.txt` beside the store."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([f"runs_dir={store}"])
    (store.parent / "printed.txt").write_text(printed.getvalue())


def stored(store: Path) -> ExplainedStudy:
    """What is stored of the only study that was explained."""
    (file,) = (store / ".explanations").glob("study-*.npz")
    explained = load_explained(store, file.stem.removeprefix("study-"))
    assert explained is not None
    return explained


def explained_with(store: Path, *arguments: str) -> ExplainedStudy:
    """Explain without drawing or saving, in half the time."""
    return explain(*parse_arguments([f"runs_dir={store}", *arguments]))[1]


def refused(store: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one message that the command ends with."""
    with pytest.raises(SystemExit) as ended:
        main([f"runs_dir={store}", *arguments])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error:") and printed.out == ""
    return printed.err


def fails(message: str) -> Callable[..., Any]:
    return lambda *_, **__: pytest.fail(message)


def target(store: Path, process: str, seed: int) -> Path:
    """The folder of a process's run on the target."""
    (folder,) = [
        folder
        for folder in folders(store, "dld")
        if _process(folder) == process and json.loads((folder / "record.json").read_text())["seed"] == seed
    ]
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _process(folder: Path) -> str:
    chain = json.loads((folder / "record.json").read_text())["chain"]
    return "scratch" if chain == ["dld"] else "two_stage"


def _write_lungs(root: Path) -> None:
    """Waves of another length for each class, 8 to train on and 5 to evaluate, each image of a patient."""
    lines = ["path,class,group,split"]
    generator = np.random.default_rng(1)
    place = np.arange(NATIVE)
    for split, count in (("train", 8), ("val", 5)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                wave = np.sin(2 * np.pi * (3 * label + 2) * place / NATIVE + number)
                noisy = 128 + 60 * wave[:, None] + generator.normal(0, 25, (NATIVE, NATIVE))
                path = f"{PATIENTS[number % 3]}/{name}/slice-{split}-{number}.png"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / path)
                lines.append(f"{path},{name},{split} {PATIENTS[number % 3]},{split}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
