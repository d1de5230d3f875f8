"""One stage run in two processes (DDP), on processors: the same run, trained together."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.fake_images import write_image
from tests.helpers.programs import forking_python
from tests.helpers.relay import only_folder, run, same_tensors

UNSET = ("generator", "classes", "train_images", "val_images", "size", "seed")


def unbalanced(root: Path) -> tuple[str, ...]:
    """Eleven training images in two classes, in batches of four: the last three cannot be shared equally.

    And five test images, which two processes cannot share equally either.
    """
    sides = (("train", (8, 3)), ("val", (4, 2)), ("test", (3, 2)))
    for side, counts in sides:
        for name, count in zip(("brick", "cotton"), counts, strict=True):
            for number in range(count):
                write_image(
                    root / side / name / f"{number}.png",
                    len(side) * 1000 + len(name) * 100 + number,
                    (32, 32),
                )
    texture = "data.domains.texture"
    unset = (f"{texture}.{key}=null" for key in UNSET)
    return (f"{texture}.kind=folder", f"{texture}.root={root}", *unset, "optim.batch_size=4")


@pytest.mark.parametrize("case", ["equal shares", "class weights, unequal shares"])
def test_two_processes_train_the_same_run_as_one(tmp_path: Path, case: str) -> None:
    """The batch is shared out, so id, counts and losses are those of one process up to rounding.

    Also where images are drawn and a mean of the weights is kept; two such runs have the same bits.
    """
    settings = {
        "equal shares": (),
        "class weights, unequal shares": (
            *("optim.class_weights=balanced", *unbalanced(tmp_path / "images")),
            *("optim.accumulate=2", "optim.label_smoothing=0.1", "optim.ema_decay=0.5"),
            *("data.augment=flip", "data.rotation=[-20,20]", "data.crop=[0.7,1]", "data.noise=30"),
            *("data.brightness=50", "data.contrast=0.4"),
        ),
    }[case]
    folders = []
    with forking_python() as python:
        for devices in (1, 2, 2) if settings else (1, 2):
            runs_dir = tmp_path / str(len(folders))
            done = run(
                "+stage=texture",
                runs_dir=runs_dir,
                cache_dir=tmp_path / "cache",
                # Each process draws its own dropout; without it the two gradients average to the one.
                last=(f"trainer.devices={devices}", "model.dropout=0", *settings),
                python=python,  # of the second process; test_threads starts a new Python
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            folders.append(only_folder(runs_dir, "texture"))
    one, two = folders[:2]
    assert all(same_tensors(two / "model.ckpt", again / "model.ckpt") for again in folders[2:])
    folders = folders[:2]
    assert one.name == two.name
    records = [json.loads((folder / "record.json").read_text()) for folder in folders]
    assert records[0]["data"] == records[1]["data"]
    assert sum(map(sum, records[1]["confusion_matrix"])) == sum(records[1]["data"]["val_counts"])
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    assert len(histories[1]) == 3
    for column in ("train_loss", "cross_entropy"):
        assert histories[1][column].tolist() == pytest.approx(histories[0][column].tolist(), rel=1e-4)
    predictions = [pd.read_parquet(folder / "predictions.parquet") for folder in folders]
    assert predictions[0]["sample"].tolist() == predictions[1]["sample"].tolist()
    for epoch in range(2):  # the last two are the plateau's
        right = predictions[1][f"predicted_{epoch}"] == predictions[1]["label"]
        assert right.mean() == pytest.approx(histories[1]["accuracy"].iloc[epoch - 2])
    if settings:
        first, second = (pd.read_parquet(folder / "test_predictions.parquet") for folder in folders)
        assert len(first) == 5 and first["sample"].tolist() == second["sample"].tolist()
        logits = [column for column in first if column.startswith("logit_")]
        np.testing.assert_allclose(first[logits], second[logits], rtol=1e-3, atol=1e-4)
    assert not list(two.glob("*.tmp*"))
