"""One stage run in two processes (DDP), on processors: the same run, trained together."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.relay import only_folder, run


def test_two_processes_train_the_same_run_as_one(tmp_path: Path) -> None:
    """The batch is shared out, so id, counts and losses are those of one process up to rounding."""
    folders = []
    for devices in (1, 2):
        runs_dir = tmp_path / str(devices)
        done = run(
            "+stage=texture",
            runs_dir=runs_dir,
            cache_dir=tmp_path / "cache",
            # Each process draws its own dropout; without it the two gradients average to the one.
            last=(f"trainer.devices={devices}", "model.dropout=0"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        folders.append(only_folder(runs_dir, "texture"))
    one, two = folders
    assert one.name == two.name
    records = [json.loads((folder / "record.json").read_text()) for folder in folders]
    assert records[0]["data"] == records[1]["data"]
    assert sum(map(sum, records[1]["confusion_matrix"])) == 12
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    assert len(histories[1]) == 3
    for column in ("train_loss", "cross_entropy"):
        assert histories[1][column].tolist() == pytest.approx(histories[0][column].tolist(), rel=1e-4)
    predictions = [pd.read_parquet(folder / "predictions.parquet") for folder in folders]
    assert predictions[0]["sample"].tolist() == predictions[1]["sample"].tolist()
    assert not list(two.glob("*.tmp*"))
