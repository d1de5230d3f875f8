"""A resumed run reads its checkpoint once, and its parent not at all."""

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.programs import run_program
from tests.helpers.relay import command, only_folder, run, run_until, same_tensors

CHAIN = ("+stage=texture,dld", "-m", "transfer=finetune", "trainer.checkpoint_seconds=0")
LONG = ("callbacks.plateau.patience=4", "callbacks.plateau.max_epochs=5")

# train.py, saying which file torch.load reads.
TELLING = """
import runpy, sys, torch
load = torch.load
def telling(path, *arguments, **options):
    print("read:", path, flush=True)
    return load(path, *arguments, **options)
torch.load = telling
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    runs_dir = tmp_path_factory.mktemp("uninterrupted")
    done = run(*CHAIN, runs_dir=runs_dir, cache_dir=cache_dir, last=LONG)
    assert done.returncode == 0, done.stderr
    return runs_dir


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A store whose target was killed after its second epoch or later."""
    runs_dir = tmp_path_factory.mktemp("killed")
    previous = "dld/*/previous.ckpt"
    run_until(lambda: any(runs_dir.glob(previous)), *CHAIN, runs_dir=runs_dir, cache_dir=cache_dir, last=LONG)
    assert not list(runs_dir.glob("dld/*/record.json")), "it ended before it could be killed"
    return runs_dir


def resumed(runs_dir: Path, cache_dir: Path) -> list[Path]:
    """Go on, and say which files were read by torch, below the store."""
    typed = command(*CHAIN, runs_dir=runs_dir, cache_dir=cache_dir, last=LONG)
    done = run_program(["-c", TELLING, *typed[1:]])
    assert done.returncode == 0, done.stdout + done.stderr
    read = [line.removeprefix("read: ") for line in done.stdout.splitlines() if line.startswith("read: ")]
    return [Path(path).relative_to(runs_dir) for path in read]


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bits(
    killed: Path, uninterrupted: Path, cache_dir: Path, tmp_path: Path
) -> None:
    runs_dir = tmp_path / "runs"
    shutil.copytree(killed, runs_dir)
    folder = only_folder(runs_dir, "dld")
    read = resumed(runs_dir, cache_dir)

    own = [path for path in read if path.suffix == ".ckpt" and path.parts[0] == "dld"]
    assert own in ([Path("dld", folder.name, "last.ckpt")], [Path("dld", folder.name, "previous.ckpt")])
    assert not [path for path in read if path.parts[0] == "texture"]

    expected = only_folder(uninterrupted, "dld")
    assert same_tensors(folder / "model.ckpt", expected / "model.ckpt")
    ours, theirs = (json.loads((path / "record.json").read_text()) for path in (folder, expected))
    assert ours["transfer"] == theirs["transfer"]
    assert ours["transfer"]["frozen"]
    assert ours["starting_point"] == theirs["starting_point"] == "parent"
    assert [attempt["ended"] for attempt in ours["attempts"]] == ["killed", "complete"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damaged", "goes_on"),
    [
        (("last.ckpt",), "The training goes on from previous.ckpt."),
        (("last.ckpt", "previous.ckpt"), "The training starts again at its first epoch."),
    ],
)
def test_a_damaged_checkpoint_is_said_and_changes_no_bit(
    killed: Path, uninterrupted: Path, cache_dir: Path, tmp_path: Path, damaged: tuple[str, ...], goes_on: str
) -> None:
    runs_dir = tmp_path / "runs"
    shutil.copytree(killed, runs_dir)
    folder = only_folder(runs_dir, "dld")
    if not (folder / "last.ckpt").exists():  # killed between the two renames
        shutil.copyfile(folder / "previous.ckpt", folder / "last.ckpt")
    for name in damaged:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    done = run(*CHAIN, runs_dir=runs_dir, cache_dir=cache_dir, last=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert goes_on in said
    assert all(f"{name} cannot be used: it is cut short or damaged" in said for name in damaged)
    assert same_tensors(folder / "model.ckpt", only_folder(uninterrupted, "dld") / "model.ckpt")
