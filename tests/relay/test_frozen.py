"""Frozen layers keep their parent's bits through a whole stage run, also one that was killed."""

import json
from pathlib import Path

import pytest
import torch

from tests.helpers.relay import only_folder, run, run_until, same_tensors

CHAIN = ("+stage=texture,dld", "-m", "transfer=freeze_early", "trainer.checkpoint_seconds=0")
# fc6, conv5 and conv4 begin after one, two and three epochs, by a job that the sweep describes.
GRADUAL = ("optim.unfreeze_epochs=1", "optim.layer_decay=0.9", "optim.schedule=step", "optim.ema_decay=0.9")
LONG = (*GRADUAL, "callbacks.plateau.patience=4", "callbacks.plateau.max_epochs=5")
FROZEN = ("conv1", "conv2", "conv3")


def assert_the_mean_is_handed_on(parent: Path) -> None:
    """A child's frozen layers have the bits of `model.ckpt`, and that has those of the mean."""
    handed_on, state = (torch.load(parent / file, weights_only=True) for file in ("model.ckpt", "last.ckpt"))
    for name, value in handed_on.items():
        assert torch.equal(value, state["state_dict"][f"average.{name}"]), name
        assert not torch.equal(value, state["state_dict"][f"network.{name}"]), name


@pytest.mark.slow
def test_frozen_layers_keep_their_parents_bits(tmp_path: Path) -> None:
    whole, killed, cache_dir = tmp_path / "whole", tmp_path / "killed", tmp_path / "cache"
    done = run(*CHAIN, runs_dir=whole, cache_dir=cache_dir, last=LONG)
    assert done.returncode == 0, done.stderr
    previous = "dld/*/previous.ckpt"  # its second epoch has ended
    run_until(lambda: any(killed.glob(previous)), *CHAIN, runs_dir=killed, cache_dir=cache_dir, last=LONG)
    assert not list(killed.glob("dld/*/record.json")), "it ended before it could be killed"
    done = run(*CHAIN, runs_dir=killed, cache_dir=cache_dir, last=LONG)
    assert done.returncode == 0, done.stderr

    folder = only_folder(killed, "dld")
    assert same_tensors(folder / "model.ckpt", only_folder(whole, "dld") / "model.ckpt")
    record = json.loads((folder / "record.json").read_text())
    assert record["transfer"]["rule"] == "freeze_early"
    assert record["transfer"]["frozen"] == [
        f"{layer}.{kind}" for layer in FROZEN for kind in ("weight", "bias")
    ]
    assert len(record["attempts"]) == 2
    assert_the_mean_is_handed_on(only_folder(killed, "texture"))
    child, parent = (
        torch.load(only_folder(killed, stage) / "model.ckpt", weights_only=True)
        for stage in ("dld", "texture")
    )
    for name, value in child.items():
        same = value.shape == parent[name].shape and torch.equal(value, parent[name])
        assert same == name.startswith(FROZEN), name
