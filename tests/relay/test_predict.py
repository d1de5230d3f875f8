"""`predict.py` gives what the runs themselves said of their evaluation images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import softmax

from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from stages.predictions import read_predictions
from stages.record import AcquisitionRecord
from stages.store import RunFolder
from tests.helpers.fake_networks import predicted
from tests.helpers.fake_units import FakeUnit, fake_survey
from tests.helpers.relay import only_folder, run

TAKEN = AcquisitionRecord(spacing_mm=[0.5, 0.6, 0.7], thickness_mm=None, kernels={"B70f": 2})
UNSET = ("generator", "classes", "train_images", "val_images", "size", "seed")


def write_images(data: Path) -> None:
    """16-bit grey of which a window is taken, colour of several sizes, and a prepared set of HU."""
    random = np.random.default_rng(0)
    for side, count in (("train", 4), ("val", 2)):
        for name in ("a", "b"):
            for kind in ("deep", "colour"):
                (data / kind / side / name).mkdir(parents=True)
            for number in range(count):
                deep = random.integers(0, 4000, (40, 40)).astype(np.uint16)
                Image.fromarray(deep).save(data / "deep" / side / name / f"{number}.png")
                colour = random.integers(0, 256, (50 + number, 70, 3)).astype(np.uint8)
                Image.fromarray(colour).save(data / "colour" / side / name / f"{number}.jpg")
    units = [FakeUnit(number, size=40) for number in range(6)]
    pack(
        replace(fake_survey(units), acquisition=TAKEN),
        data / "set",
        SplitRule(duplicates=False),
        on_error="raise",
        workers=1,
    )


@pytest.mark.slow
def test_predict_says_what_the_runs_said(tmp_path: Path) -> None:
    write_images(tmp_path)
    sources = {
        "natural": ("folder", "deep", "window=[100,3000]"),
        "texture": ("folder", "colour", "decode_size=40"),
        "dld": ("packed", "set", "window=[-900,300]"),
    }
    given = [
        setting
        for stage, (kind, root, more) in sources.items()
        for setting in (
            *(f"data.domains.{stage}.{key}=null" for key in UNSET),
            *(f"data.domains.{stage}.{each}" for each in (f"kind={kind}", f"root={tmp_path / root}", more)),
        )
    ]
    runs = tmp_path / "runs"
    done = run(
        "+stage=natural,texture,dld", "-m", runs_dir=runs, cache_dir=tmp_path / "cache",
        last=[*given, "data.image_size=63", "callbacks.plateau.max_epochs=3"],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for stage, (kind, root, _) in sources.items():
        folder = RunFolder(only_folder(runs, stage))
        folder.config.unlink()
        made_of = folder.read_record().input
        assert made_of is not None and made_of.acquisition == (TAKEN if kind == "packed" else None)
        out = tmp_path / f"out-{stage}"
        predicted(runs, tmp_path / root, out, f"run={folder.path.name}", "precision=training")
        table = pd.read_csv(out / "predictions.csv", dtype={"path": str}).set_index("path")
        stored = read_predictions(folder.predictions, samples=True)
        if kind == "packed":
            table = table.loc[list(stored.samples)]
        else:
            table = table[table.index.str.startswith("val/")]
        assert len(table) == len(stored.labels) > 0
        found = table[[f"probability_{name}" for name in stored.classes]].to_numpy()
        np.testing.assert_allclose(found, softmax(stored.logits, axis=1), atol=1e-5)
        assert list(table["class"]) == [stored.classes[label] for label in stored.predicted]
