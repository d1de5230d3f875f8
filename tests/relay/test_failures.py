"""What goes wrong is said in one message, exits with a non-zero code and loses nothing."""

import json
import pickle
import resource
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from tests.helpers.fake_domains import write_domains
from tests.helpers.programs import run_program
from tests.helpers.relay import TINY, command, folders, only_folder, run

# Natural diverges at once; the other stages are well.
DIVERGING = ("optim.lr_scratch=1e30",)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_diverged_run_stops_its_descendants_only(cache_dir: Path, tmp_path: Path) -> None:
    # The texture stage starts from random weights too, so both sources fail; what is complete stays.
    first = run("+stage=dld", "-m", runs_dir=tmp_path, cache_dir=cache_dir)
    assert first.returncode == 0, first.stderr
    done = run("+stage=texture,dld", "-m", runs_dir=tmp_path, cache_dir=cache_dir, last=DIVERGING)
    assert done.returncode == 1
    assert "1 failed, 1 blocked" in done.stdout
    assert "the training loss is not finite" in done.stdout
    assert "optim.gradient_clip" in done.stdout, "says what to do"
    folder = only_folder(tmp_path, "texture")
    assert str(folder / "failure.txt") in done.stdout
    assert "Traceback" in (folder / "failure.txt").read_text()
    assert not (folder / "record.json").exists()
    assert len(folders(tmp_path, "dld")) == 1


def test_other_chains_go_on_when_one_fails(cache_dir: Path, tmp_path: Path) -> None:
    done = run(
        "-m",
        "process=scratch,texture",
        runs_dir=tmp_path,
        cache_dir=cache_dir,
        # scratch and the texture source run at the same depth; only dld has so few images that batches fit
        last=("optim.lr_scratch=1e30", "optim.warmup_steps=0"),
    )
    assert done.returncode == 1
    assert "3 stage runs: 2 failed, 1 blocked" in done.stdout
    assert done.stdout.count("failed: ") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # tests/hydra_plugins/test_sweeper.py has many more, without starting a process for each
        (("+stage=nature", "-m"), "nature"),
        (("+stage=dld", "-m", "stage.source.root=/x"), "the stage has no source of its own"),
        (("+stage=dld", "-m", "stage.source.kind=folder"), "the stage has no source of its own"),
        (("+stage=dld", "stage.source={kind: folder, root: /x}"), "stage.source cannot be typed as a whole"),
        (("+stage=dld", "data_ratio=0"), "data_ratio is 0.0"),
        (("+stage=dld", "-m", "transfer.rule=finetune"), "transfer.rule has gone; type transfer=finetune"),
        (("process=two_stage",), "add -m"),
        (("+stage=dld", "init_from=/nowhere/weights.pt"), "/nowhere/weights.pt"),
    ],
)
def test_bad_requests(arguments: tuple[str, ...], said: str, cache_dir: Path, tmp_path: Path) -> None:
    done = run(*arguments, runs_dir=tmp_path / "runs", cache_dir=cache_dir)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert said in printed
    assert "Traceback" not in printed
    assert not list((tmp_path / "runs").glob("*/*/record.json"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("zero bytes", "normal/train-0.png"),
        ("truncated", "train-0.png"),
        ("empty class", "gas_pump"),
        ("crossing group", "train-0"),
    ],
)
def test_bad_images_are_found_before_anything_is_trained(
    damage: str, said: str, cache_dir: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    write_domains(data_dir)
    patches = data_dir / "lung/semiseg-patches32"
    image = patches / "normal/train-0.png"
    if damage == "zero bytes":
        image.write_bytes(b"")
    elif damage == "truncated":
        image.write_bytes(image.read_bytes()[:-40])
    elif damage == "empty class":
        (data_dir / "natural/imagenette-224/train/gas_pump").mkdir()
        (data_dir / "natural/imagenette-224/val/gas_pump").mkdir()
    else:
        manifest = patches / "manifest.csv"
        manifest.write_text(manifest.read_text().replace("test-0,test", "train-0,test"))
    done = run(
        "+stage=natural,texture,dld",
        "-m",
        "experiment=real",
        f"paths.data_dir={data_dir}",
        runs_dir=tmp_path / "runs",
        cache_dir=tmp_path / "cache",
        tiny=tuple(setting for setting in TINY if not setting.startswith("data.domains")),
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 2, printed
    assert said in printed
    assert "Traceback" not in printed
    assert not list((tmp_path / "runs").glob("natural/*")), "the first stage was not begun"


def test_a_truncated_checkpoint_and_a_malicious_one(cache_dir: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.pt"
    torch.save({"conv1.weight": torch.zeros(100, 100)}, truncated)
    truncated.write_bytes(truncated.read_bytes()[:2000])

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (print, ("owned",))

    malicious = tmp_path / "malicious.pt"
    malicious.write_bytes(pickle.dumps({"state_dict": Evil()}))
    other = tmp_path / "other.pt"
    torch.save({"layer.weight": torch.zeros(3, 3)}, other)
    for path, said in ((truncated, "truncated.pt"), (malicious, "malicious.pt"), (other, "layer.weight")):
        done = run("+stage=dld", f"init_from={path}", runs_dir=tmp_path / "runs", cache_dir=cache_dir)
        printed = done.stdout + done.stderr
        assert done.returncode == 2, "refused before anything is trained"
        assert said in printed
        assert "owned" not in printed


def test_init_from_a_file_of_the_users(cache_dir: Path, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    source = run("+stage=texture", runs_dir=runs_dir, cache_dir=cache_dir)
    assert source.returncode == 0, source.stderr
    weights = torch.load(only_folder(runs_dir, "texture") / "model.ckpt")
    wrapped = {"state_dict": {f"net.{name}": tensor for name, tensor in weights.items()}, "args": Namespace()}
    torch.save(wrapped, tmp_path / "wrapped.ckpt")
    done = run("+stage=dld", f"init_from={tmp_path / 'wrapped.ckpt'}", runs_dir=runs_dir, cache_dir=cache_dir)
    assert done.returncode == 0, done.stderr
    assert "state_dict.net.conv1.weight is taken as conv1.weight; not taken: args" in done.stdout
    record = json.loads((only_folder(runs_dir, "dld") / "record.json").read_text())
    assert record["starting_point"] == "init_from"
    assert record["parent"] is None
    assert "conv1.weight" in record["transfer"]["kept"]
    assert record["transfer"]["dropped"] == ["args"]


@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_a_folder_that_cannot_be_written(cache_dir: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    blocked = tmp_path / "a file"
    blocked.touch()
    done = run("+stage=dld", *flags, runs_dir=blocked / "runs", cache_dir=cache_dir)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def small_files() -> None:
    """Weights of the tiny network take more, everything else less."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))


def test_a_full_disk_leaves_whole_files_and_the_next_start_goes_on(cache_dir: Path, tmp_path: Path) -> None:
    warm = run("+stage=texture", "plan=true", runs_dir=tmp_path, cache_dir=cache_dir)
    assert warm.returncode == 0

    line = command("+stage=texture", "-m", runs_dir=tmp_path, cache_dir=cache_dir)
    full = run_program(line[1:], before=small_files)
    assert full.returncode == 1
    assert "File too large" in full.stdout
    folder = only_folder(tmp_path, "texture")
    assert not (folder / "record.json").exists()
    assert not (folder / "model.ckpt").exists()
    assert not list(folder.glob(".*.partial"))
    again = run("+stage=texture", "-m", runs_dir=tmp_path, cache_dir=cache_dir)
    assert again.returncode == 0, again.stderr
    assert (folder / "record.json").exists()
