"""The benchmark for machines with a GPU runs without one, on small sizes."""

from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir

from benchmarks import accelerator
from benchmarks.accelerator import Size, measured, page
from benchmarks.same_bits import weights_of
from tests.helpers.stage_helpers import CONF


@pytest.mark.slow
def test_every_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(accelerator.NETWORKS, "AlexNet", ("model=alexnet", "model.width=0.0625"))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        rows = list(
            measured("AlexNet", Size(pixels=64, batch=10, images=20, epochs=1, rounds=1), str(tmp_path))
        )
    assert all(row.speed > 0 for row in rows)
    assert [row.what.split(": ", 1)[1].split(":")[0] for row in rows] == [
        "training in the program", "bare step", "PyTorch as it comes", "bare step without normalisation",
        "bare step", "batches made, no training", "maps, desalinet, by batches", "prediction, float32",
    ]  # fmt: skip
    table = list(page(rows, [("the same bits", False)], 1.0))
    assert "| the same bits | **no** |" in table
    (step,) = (row for row in rows if row.against == "PyTorch as it comes")
    (plain,) = (row for row in rows if "as it comes" in row.what)
    assert step.ratio == pytest.approx(step.speed / plain.speed)  # of one round


def test_a_digest_is_of_the_values(tmp_path: Path) -> None:
    weights = {"b": torch.zeros(2), "a": torch.ones(3, dtype=torch.bfloat16)}
    digests = []
    for name, each in (
        ("same", weights),
        ("turned", dict(reversed(weights.items()))),
        ("other", {**weights, "b": torch.tensor([0.0, -0.0])}),
    ):
        (tmp_path / name).mkdir()
        torch.save(each, tmp_path / name / "model.ckpt")
        digests.append(weights_of(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]
