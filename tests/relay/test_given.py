"""A chain that begins with given weights, as a user types it: killed, gone on with, store and file moved."""

from pathlib import Path

import torch

from lightning_modules.build import build_network
from stages.machine.digest import file_digest
from stages.record import GivenRecord, read_record
from tests.helpers.relay import only_folder, run, run_until, same_tensors

LAST = ("callbacks.plateau.max_epochs=5", "trainer.checkpoint_seconds=0")


def stage_file(conf: Path, weights: Path) -> None:
    """A stage that is given, in a folder of the user's."""
    (conf / "stage").mkdir(parents=True, exist_ok=True)
    text = f"name: radimagenet\nweights: {weights}\nlicense: CC BY-NC 4.0\nmodel: alexnet\n"
    (conf / "stage" / "radimagenet.yaml").write_text(text)


def test_a_given_stage_goes_on_after_a_kill_and_a_move(tmp_path: Path) -> None:
    network = build_network("alexnet", 3, width=0.0625, seed=7)
    saved = {"state_dict": {f"module.{name}": it for name, it in network.state_dict().items()}, "epoch": 9}
    weights, conf = tmp_path / "rad.pth.tar", tmp_path / "conf"
    torch.save(saved, weights)
    stage_file(conf, weights)
    typed = ("--config-dir", str(conf), "+stage=radimagenet,dld", "-m")
    where, cache_dir = tmp_path / "runs", tmp_path / "cache"
    run_until(
        lambda: any(where.glob("dld/*/last.ckpt")), *typed, runs_dir=where, cache_dir=cache_dir, last=LAST
    )
    assert not any(where.glob("dld/*/record.json")), "it was killed"
    moved, elsewhere = where.rename(tmp_path / "moved"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    stage_file(conf, weights.rename(elsewhere / "w.pt"))
    done = run(*typed, runs_dir=moved, cache_dir=cache_dir, last=LAST)
    assert done.returncode == 0, done.stderr
    assert not (moved / "radimagenet").exists(), "it is not trained"
    digest = file_digest(elsewhere / "w.pt")
    assert f"radimagenet, given: {elsewhere / 'w.pt'} (SHA-256 {digest[:16]}, CC BY-NC 4.0)" in done.stdout
    folder = only_folder(moved, "dld")
    record = read_record(folder / "record.json")
    assert record.chain == ["radimagenet", "dld"]
    assert record.given == GivenRecord(name="radimagenet", sha256=digest, license="CC BY-NC 4.0")
    assert len(record.attempts) == 2
    assert "of radimagenet, state_dict.module.conv1.weight is taken as conv1.weight" in record.notes[-1]
    whole = run(*typed, runs_dir=tmp_path / "whole", cache_dir=cache_dir, last=LAST)
    assert whole.returncode == 0, whole.stderr
    undisturbed = only_folder(tmp_path / "whole", "dld")
    assert folder.name == undisturbed.name, "the id is of the content"
    assert same_tensors(folder / "model.ckpt", undisturbed / "model.ckpt")
