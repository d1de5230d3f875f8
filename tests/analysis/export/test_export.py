"""The command: what it writes, that it loads without Relay, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import site
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from analysis.explain.target_images import target_images
from analysis.export import check, programs
from analysis.export.__main__ import main
from analysis.prediction.chosen import chosen_runs
from analysis.prediction.ensemble import Ensemble, load_ensemble
from lightning_modules.hardware import native_bfloat16
from stages.predictions import read_predictions
from stages.store import Store
from tests.helpers.explained_store import CLASSES, NATIVE, PLANTED, write_store
from tests.helpers.stage_helpers import PROJECT, seal

pytestmark = pytest.mark.slow

WINDOW = [-1000.0, 400.0]
FILES = {"SHA256SUMS", "card.md", "config.json", "example.py", "model.onnx", "model.pt2"}


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes at two seeds, each run with a scaling of its own, and the images beside them."""
    folder = tmp_path_factory.mktemp("exported")
    write_store(folder)
    for number, run in enumerate(Store(folder / "runs").complete_runs()):
        content = json.loads(run.record.read_text())
        content["input"] = {
            "mean": [0.4, 0.4, 0.4], "std": [0.2 + 0.02 * number] * 3, "color": False, "window": WINDOW,
            "decode_size": None, "precision": "bf16-mixed", "memory_format": "channels_last",
            "acquisition": {"spacing_mm": [0.6, 0.7, 0.8], "thickness_mm": None, "kernels": {"B70f|x": 2}},
        }  # fmt: skip
        seal(run, content)
    return folder / "runs"


@pytest.fixture(scope="module")
def out(runs_dir: Path) -> Path:
    """The two networks of two_stage, exported."""
    out = runs_dir.parent / "handed over"
    main([f"runs_dir={runs_dir}", "process=two_stage", f"out={out}"])
    return out


@pytest.fixture
def own(runs_dir: Path, tmp_path: Path) -> Path:
    """A store that the test may change."""
    return Path(shutil.copytree(runs_dir, tmp_path / "runs"))


@pytest.fixture(scope="module")
def loaded(out: Path) -> dict[str, check.Program]:
    """Both programs of two_stage, loaded once."""
    return {
        "_onnx_program": check._onnx_program(out / "model.onnx"),
        "_torch_program": check._torch_program(out / "model.pt2"),
    }


@pytest.fixture
def quick(out: Path, loaded: dict[str, check.Program], monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of two_stage are written and loaded without waiting, whatever networks are chosen."""

    def write(_: object, folder: Path) -> None:
        for name in ("model.onnx", "model.pt2"):
            shutil.copyfile(out / name, folder / name)

    monkeypatch.setattr(programs, "write_programs", write)
    for name, program in loaded.items():
        monkeypatch.setattr(check, name, lambda _, program=program: program)


def ensemble_of(runs_dir: Path, process: str = "two_stage") -> Ensemble:
    folders = chosen_runs(runs_dir, process=process, runs=(), study=None)
    return load_ensemble(folders, torch.device("cpu"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.replace("\n", " ")


WITHOUT_RELAY = """
import importlib.util, json, runpy, sys
sys.path += {site}
assert all(importlib.util.find_spec(name) is None for name in ("stages", "analysis", "datamodules"))
for sys.argv in (["example.py", *{files}], ["example.py", "--torch", *{files}]):
    runpy.run_path({example!r}, run_name="__main__")
assert not set(sys.modules) & {{"stages", "analysis", "datamodules", "lightning_modules"}}
"""


def test_it_loads_without_relay_and_says_what_predict_says(runs_dir: Path, out: Path, tmp_path: Path) -> None:
    """In a process that has no module of Relay: -S leaves out what an editable install adds."""
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (2, NATIVE, NATIVE), dtype=np.uint8)
    hounsfield = generator.integers(-1400, 800, (NATIVE, NATIVE)).astype(np.int16)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    np.save(tmp_path / "ct.npy", hounsfield)
    windowed = np.rint(np.clip((hounsfield + 1000) * (255 / 1400), 0, 255)).astype(np.uint8)
    shown = torch.from_numpy(np.stack([*pixels, windowed]))
    expected = ensemble_of(runs_dir).probabilities(shown).numpy()

    files = [str(tmp_path / name) for name in ("0.png", "1.png", "ct.npy")]
    code = WITHOUT_RELAY.format(site=site.getsitepackages(), files=files, example=str(out / "example.py"))
    command = [sys.executable, "-I", "-S", "-c", code]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [answer["file"] for answer in answers] == ["0.png", "1.png", "ct.npy"] * 2
    for number, answer in enumerate(answers):
        of_networks = expected[:, number % 3]
        mean, best = of_networks.mean(axis=0), of_networks.mean(axis=0).argmax()
        np.testing.assert_allclose([answer["probabilities"][name] for name in CLASSES], mean, atol=1e-4)
        assert answer["class"] == CLASSES[best]
        assert answer["spread"] == pytest.approx(of_networks[:, best].std(ddof=1), abs=1e-4)


def test_the_folder(out: Path) -> None:
    assert {path.name for path in out.iterdir()} == FILES
    assert not list(out.parent.glob(".*.partial")), "nothing is left beside it"
    lines = (out / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    assert sums == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES - {"SHA256SUMS"}
    }


def test_config_says_how_to_feed_it(runs_dir: Path, out: Path) -> None:
    config = json.loads((out / "config.json").read_text())
    assert config["classes"] == list(CLASSES)
    assert config["input"]["shape"] == ["N", NATIVE, NATIVE]
    assert (config["input"]["type"], config["input"]["window"]) == ("float32", WINDOW)
    assert config["input"]["expected"]["spacing_mm"] == [0.6, 0.7, 0.8]
    assert [output["shape"] for output in config["outputs"]] == [["N", 3], ["N", 2, 3]]
    members = ensemble_of(runs_dir).members
    weights = [hashlib.sha256(member.folder.weights.read_bytes()).hexdigest() for member in members]
    assert [network["weights_sha256"] for network in config["networks"]] == weights
    assert config["check"]["evaluation_images"] == len(target_images(members[0].folder.path).labels)
    assert all(0 <= off < 1e-5 for off in config["check"]["largest_difference"].values())
    rounding = config["check"]["largest_difference_by_rounding_as_in_training"]
    assert 1e-5 < rounding < 0.1 if native_bfloat16("cpu") else rounding is None
    assert ("precision=training" in (out / "card.md").read_text()) == native_bfloat16("cpu")


def front_matter(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((out / "card.md").read_text().split("---\n")[1])
    return content


def test_the_card_has_the_metrics_of_the_networks_together(runs_dir: Path, out: Path) -> None:
    """Accuracy of the mean of both networks' probabilities, worked out from their stored logits."""
    stored = [
        read_predictions(member.folder.predictions, samples=True) for member in ensemble_of(runs_dir).members
    ]
    assert stored[0].samples == stored[1].samples
    mean = sum(torch.from_numpy(each.logits).softmax(dim=1) for each in stored)
    assert isinstance(mean, torch.Tensor)
    accuracy = float((mean.argmax(dim=1).numpy() == stored[0].labels).mean())
    head = front_matter(out)
    assert (head["pipeline_tag"], head["license_name"]) == ("image-classification", "to-be-added")
    (results,) = head["model-index"][0]["results"]
    of_type = {metric["type"]: metric["value"] for metric in results["metrics"]}
    assert of_type["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert set(head["metrics"]) == set(of_type)


def test_the_card_says_what_a_person_must_know(out: Path) -> None:
    card = (out / "card.md").read_text()
    for said in (
        "To be added by you", "No diagnosis", "natural -> texture -> dld", "| consolidation | 100 | 33 |",
        "Window: -1000 to 400", "Spacing: 0.6 to 0.8 mm, median 0.7 mm", "B70f\\|x (2)", "Calibration",
        "recall of ground\\_glass", "new seeds and new patients", "`optim.lr` | 0.0005", "@article{",
        "15 images of the evaluation set and 64 generated images", "Hounsfield", "bf16-mixed",
    ):  # fmt: skip
        assert said in card, said
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table
    assert not re.search(r"\|\n[^|\n]", card), "a line after a table's last row is a row of it"


def test_no_patient_and_no_path_of_this_machine(out: Path) -> None:
    contents = {path.name: path.read_bytes() for path in out.iterdir()}
    with zipfile.ZipFile(out / "model.pt2") as archive:
        contents |= {name: archive.read(name) for name in archive.namelist()}
    for name, content in contents.items():
        text = content.decode(errors="replace")
        assert not PLANTED.search(text), name
        for path in (str(out.parent), str(PROJECT), "site-packages", "handed over", str(Path.home())):
            assert path not in text, (name, path)


def test_typed_again_it_is_there(
    runs_dir: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "write_programs", lambda *_: pytest.fail("it is there"))
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    main([f"runs_dir={runs_dir}", "process=two_stage", f"out={out}"])
    assert "already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    said = refused(capsys, f"runs_dir={runs_dir}", "process=scratch", f"out={out}")
    assert "holds something else" in said, "other networks"


@pytest.mark.parametrize("change", [
    lambda out: (out / "model.onnx").write_bytes(b"0"),
    lambda out: (out / "notes.txt").touch(),
    lambda out: (out / "card.md").unlink(),
    lambda out: (shutil.rmtree(out), out.touch()),
])  # fmt: skip
def test_other_content_is_not_written_over(
    change: Callable[[Path], object], runs_dir: Path, out: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    change(copy)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    said = refused(capsys, f"runs_dir={runs_dir}", "process=two_stage", f"out={copy}")
    assert f"{copy} holds something else" in said
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("quick")
def test_a_program_that_says_something_else_is_not_handed_over(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, f"runs_dir={runs_dir}", "process=scratch", f"out={tmp_path / 'new'}")
    assert "does not say what the networks say" in said and "nothing was written" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_a_temperature_is_compared_too(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs are without one."""
    fitted = SimpleNamespace(temperature=2.0, cross_fitted=None, note="", document=dict)
    monkeypatch.setattr("analysis.prediction.calibration.calibrate", lambda _: fitted)
    arguments = (f"runs_dir={runs_dir}", "process=two_stage", "calibration=temperature")
    assert "does not say what the networks say" in refused(capsys, *arguments, f"out={tmp_path / 'new'}")


@pytest.mark.usefixtures("quick")
def test_without_the_images_it_is_compared_on_generated_ones(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in Store(own).complete_runs():
        run.config.unlink(missing_ok=True)  # sources have none
    (tmp_path / "empty").mkdir()
    main([f"runs_dir={own}", "process=two_stage", f"out={tmp_path / 'empty'}"])
    printed = capsys.readouterr().out
    assert "compared on generated images only" in printed and "config.yaml" in printed
    card = (tmp_path / "empty" / "card.md").read_text()
    assert "64 generated images (no image of the evaluation set was there)" in card
    assert str(tmp_path) not in card


@pytest.mark.usefixtures("quick")
def test_without_sources_and_predictions_the_card_says_so(own: Path, tmp_path: Path) -> None:
    for run in Store(own).complete_runs():
        if run.path.parent.name == "texture":
            shutil.rmtree(run.path)
        elif run.path.parent.name == "dld":
            run.predictions.unlink()
    main([f"runs_dir={own}", "process=two_stage", f"out={tmp_path / 'new'}"])
    card = (tmp_path / "new" / "card.md").read_text()
    assert "| texture | not known: its run is no longer in the store" in card
    assert "intervals are for seeds only" in card
    assert "new seeds on these images" in card and "new patients" not in card


def no_weights(store: Path) -> None:
    for run in Store(store).complete_runs():
        run.weights.unlink()


def other_classes(store: Path) -> None:
    run = ensemble_of(store).members[1].folder
    content = json.loads(run.record.read_text())
    content["data"]["classes"] = ["a", "b", "c"]
    seal(run, content)


def no_scaling(store: Path) -> None:
    run = ensemble_of(store).members[0].folder
    content = json.loads(run.record.read_text())
    content["input"] = None
    seal(run, content)


@pytest.mark.parametrize(
    ("damage", "why"),
    [(no_weights, "model.ckpt"), (other_classes, "same classes"), (no_scaling, "Train it again")],
)
def test_networks_that_cannot_be_exported(
    damage: Callable[[Path], None], why: str, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(own)
    assert why in refused(capsys, f"runs_dir={own}", "process=two_stage", f"out={tmp_path / 'new'}")
    assert not (tmp_path / "new").exists()


def test_what_is_typed_wrongly(runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, new = f"runs_dir={runs_dir}", f"out={tmp_path / 'new'}"
    assert "give the folder" in refused(capsys, store, "process=two_stage")
    assert "process=NAME" in refused(capsys, store, new)
    assert "did you mean two_stage" in refused(capsys, store, "process=two_stages", new)
    assert "calibration" in refused(capsys, store, "process=two_stage", "calibration=platt", new)
    assert "needs 50 images" in refused(capsys, store, "process=two_stage", "calibration=temperature", new)
    (tmp_path / "file").touch()
    said = refused(capsys, store, "process=two_stage", f"out={tmp_path / 'file' / 'new'}")
    assert "cannot be written" in said


def test_without_the_extra(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    said = refused(capsys, f"runs_dir={runs_dir}", "process=two_stage", f"out={tmp_path / 'new'}")
    assert 'needs onnxscript: pip install ".[export]"' in said
