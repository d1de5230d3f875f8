"""A network of timm's goes through a chain as AlexNet does, also if it is killed."""

import json
from pathlib import Path

import pytest
import torch

from tests.helpers.relay import only_folder, run, run_until, same_tensors

CHAIN = ("+stage=texture,dld", "-m", "transfer=finetune", "transfer.freeze=[conv1-layer2]",
         "trainer.checkpoint_seconds=0")  # fmt: skip
NETWORK = ("model=timm", "model.architecture=test_resnet", "model.width=1", "data.image_size=32",
           "callbacks.plateau.patience=4", "callbacks.plateau.max_epochs=5")  # fmt: skip


@pytest.mark.slow
def test_a_killed_chain_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, killed, cache_dir = tmp_path / "whole", tmp_path / "killed", tmp_path / "cache"
    done = run(*CHAIN, runs_dir=whole, cache_dir=cache_dir, last=NETWORK)
    assert done.returncode == 0, done.stderr
    assert "images are normalised as timm says" in " ".join(done.stdout.split())
    previous = "dld/*/previous.ckpt"  # its second epoch has ended
    run_until(lambda: any(killed.glob(previous)), *CHAIN, runs_dir=killed, cache_dir=cache_dir, last=NETWORK)
    assert not list(killed.glob("dld/*/record.json")), "it ended before it could be killed"
    done = run(*CHAIN, runs_dir=killed, cache_dir=cache_dir, last=NETWORK)
    assert done.returncode == 0, done.stderr
    folder = only_folder(killed, "dld")
    assert same_tensors(folder / "model.ckpt", only_folder(whole, "dld") / "model.ckpt")
    record = json.loads((folder / "record.json").read_text())
    frozen = ("conv1.", "bn1.", "layer1.", "layer2.")
    assert record["transfer"]["frozen"] and all(
        name.startswith(frozen) for name in record["transfer"]["frozen"]
    )
    child, parent = (
        torch.load(only_folder(killed, stage) / "model.ckpt", weights_only=True)
        for stage in ("dld", "texture")
    )
    for name, value in child.items():
        same = value.shape == parent[name].shape and torch.equal(value, parent[name])
        assert same == name.startswith(frozen), name  # running statistics, too
