"""Pictures classified by an ensemble: the table, what is skipped, going on after a stop, and refusals."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from analysis.prediction.chosen import chosen_runs
from analysis.prediction.ensemble import Ensemble, load_ensemble
from analysis.prediction.pictures.sheet import certainty_sheet
from predict import main
from stages.errors import CompleteError, RelayError
from stages.store import RunFolder
from tests.helpers.fake_images import pixels, write_image
from tests.helpers.fake_networks import CLASSES, predicted, typed, write_networks
from tests.helpers.stage_helpers import seal

PLACES = ("=SUM(A1).png", "a/1.png", "a/2.png", "b/deep/3.png", 'b/x,"y".png')


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_networks(tmp_path_factory.mktemp("store"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for seed, place in enumerate(PLACES):
        write_image(tmp_path / "new" / place, seed, (32, 32))
    return tmp_path / "new"


def rows_of(out: Path) -> list[list[str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_mean_and_spread_by_hand(store: Path, source: Path, tmp_path: Path) -> None:
    """What a spreadsheet would run is marked, and names with commas and quotes come back."""
    said = predicted(store, source, tmp_path / "out", "batch_size=2")
    header, *rows = rows_of(tmp_path / "out")
    assert header == ["path", "class", *(f"probability_{name}" for name in CLASSES), "spread"]
    assert [row[0] for row in rows] == ["'=SUM(A1).png", *PLACES[1:]]
    ensemble = load_ensemble(
        chosen_runs(store, process="two_stage", runs=(), study=None), torch.device("cpu")
    )
    images = np.stack([pixels(seed, (32, 32)) for seed in range(len(PLACES))])
    of_networks = np.stack(
        [np.exp(each) / np.exp(each).sum(1, keepdims=True)
         for each in ensemble.logits(torch.from_numpy(images)).double().numpy()]
    )  # fmt: skip
    mean = (of_networks[0] + of_networks[1]) / 2
    found = np.array([row[2:-1] for row in rows], np.float64)
    np.testing.assert_allclose(found, mean, atol=1e-6)
    labels = mean.argmax(1)
    assert [row[1].removeprefix("'") for row in rows] == [CLASSES[label] for label in labels]
    apart = np.abs(of_networks[0] - of_networks[1])[np.arange(len(labels)), labels] / np.sqrt(2)
    np.testing.assert_allclose([float(row[-1]) for row in rows], apart, atol=1e-6)
    assert "5 pictures classified by 2 networks" in said[0]
    assert not (tmp_path / "out" / "skipped.csv").exists()
    assert not (tmp_path / "out" / ".partial").exists()
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 800
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert len(settings["networks"]) == 2 and str(tmp_path) not in json.dumps(settings)


def test_one_network_has_no_spread(store: Path, source: Path, tmp_path: Path) -> None:
    run = chosen_runs(store, process="scratch", runs=(), study=None)[0]
    predicted(store, source / "a" / "1.png", tmp_path / "out", f"run={run.path.name}")
    _, row = rows_of(tmp_path / "out")
    assert (row[0], row[-1]) == ("1.png", "")


def test_what_cannot_be_used_is_listed(store: Path, source: Path, tmp_path: Path) -> None:
    (source / "a" / "1.png").write_bytes((source / "a" / "1.png").read_bytes()[:90])
    write_image(source / "large.png", 9, (64, 48))
    (source / "notes.docx").touch()
    said = predicted(store, source, tmp_path / "out")
    skipped = pd.read_csv(tmp_path / "out" / "skipped.csv").set_index("path")["why"]
    assert list(skipped.index) == ["a/1.png", "large.png"]
    assert "has 64 x 48 px, the training images 32 x 32" in skipped["large.png"]
    assert len(rows_of(tmp_path / "out")) == 5
    assert any("2 pictures skipped" in line for line in said)


def test_no_picture_that_can_be_used(store: Path, tmp_path: Path) -> None:
    """Nothing is left of it: the same command works once the pictures do."""
    file = write_image(tmp_path / "new" / "a.png", 0, (8, 8))
    with pytest.raises(RelayError, match=r"no picture of source=.* the first: a\.png: it has 8 x 8"):
        predicted(store, tmp_path / "new", tmp_path / "out")
    write_image(file, 0, (32, 32))
    predicted(store, tmp_path / "new", tmp_path / "out")


def test_a_manifest(store: Path, source: Path, tmp_path: Path) -> None:
    """Rows keep their order; what is listed and not there is skipped."""
    manifest = source / "list.csv"
    manifest.write_text("path;class\nb/deep/3.png;x\na/none.png;x\n../out.png;x\nA/2.PNG;y\nb/deep/3.png;x\n")
    predicted(store, manifest, tmp_path / "out")
    assert [row[0] for row in rows_of(tmp_path / "out")[1:]] == ["b/deep/3.png", "A/2.PNG"]
    skipped = pd.read_csv(tmp_path / "out" / "skipped.csv")
    assert list(skipped["path"]) == ["a/none.png", "../out.png"]


def test_ctrl_c_keeps_what_is_done(
    store: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on, to the bytes of a command that was not stopped."""
    asked: list[int] = []
    whole = Ensemble.probabilities

    def stopped(self: Ensemble, images: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
        asked.append(len(images))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return whole(self, images, batch_size)

    monkeypatch.setattr(Ensemble, "probabilities", stopped)
    command = typed(store, source, tmp_path / "out", "batch_size=2")
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 130 and asked == [2, 2, 1]
    assert not (tmp_path / "out" / "predictions.csv").exists()
    with (tmp_path / "out" / ".partial" / "predictions.csv").open("a") as file:
        file.write("torn,by a ki")
    main(command)
    assert asked == [2, 2, 1, 1], "what was done is not computed again"
    main(typed(store, source, tmp_path / "other", "batch_size=2"))
    for name in ("predictions.csv", "contact_sheet.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_full_disk(store: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("analysis.prediction.pictures.progress.os.fsync", full)
        with pytest.raises(RelayError, match="is full; what is done is kept"):
            predicted(store, source, tmp_path / "out")
    predicted(store, source, tmp_path / "out")


def test_results_of_something_else(
    store: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    predicted(store, source, out)
    with pytest.raises(CompleteError, match="is complete"):
        predicted(store, source, out)
    main(typed(store, source, out))
    assert "Nothing to do" in capsys.readouterr().out
    with pytest.raises(RelayError, match=r"holds other results.*networks"):
        predicted(
            store,
            source,
            out,
            f"run={chosen_runs(store, process='scratch', runs=(), study=None)[0].path.name}",
        )
    write_image(source / "more.png", 7, (32, 32))
    with pytest.raises(RelayError, match=r"holds other results.*source"):
        predicted(store, source, out)
    (out / "settings.json").unlink()
    with pytest.raises(RelayError, match=r"holds predictions\.csv, which this command did not write"):
        predicted(store, source, out)


@pytest.mark.parametrize(
    ("source_of", "out_of", "why"),
    [
        ("none", "out", "there is no such file or folder"),
        ("new", "new", "lies in out="),
        ("new", "", "lies in out="),
        ("new", "new/out", "so that results would be taken for images"),
        ("empty", "out", "holds no image"),
        ("new/x.txt", "out", "is no image, CSV, DICOM or NIfTI file"),
    ],
)
def test_sources_that_are_refused(
    store: Path, source: Path, tmp_path: Path, source_of: str, out_of: str, why: str
) -> None:
    (tmp_path / "empty").mkdir()
    (source / "x.txt").write_text("x")
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(RelayError, match=why):
        predicted(store, tmp_path / source_of, tmp_path / out_of)
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == before


def other_input(run: RunFolder, **changes: Any) -> None:
    content = json.loads(run.record.read_text())
    content["input"] |= changes
    seal(run, content)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"window": [-1000.0, 400.0]}, "of 8 bits, where values from -1000 to 400"),
        ({"color": True}, "grey, where networks know colours"),
        ({"decode_size": 32}, "pictures are resized, the shorter side to 32 px"),
    ],
)
def test_what_is_other_than_in_training_is_said(
    store: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: Any, note: str
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "own"))
    run = chosen_runs(own, process="two_stage", runs=(), study=None)[0]
    other_input(run, **changes)
    content = json.loads(run.record.read_text())
    content["plateau"]["learning"] = False
    seal(run, content)
    write_image(source / "large.png", 9, (64, 48))
    main(typed(own, source, tmp_path / "out", f"run={run.path.name}"))
    said = " ".join(capsys.readouterr().out.split())
    assert note in said and said.count("1 of 1 network never learned") == 1
    assert len(rows_of(tmp_path / "out")) == (7 if "decode_size" in changes else 6)


def test_the_sheet_has_a_place_for_each_picture() -> None:
    shown = [(pixels(seed, (32, 20)), "a name that is far too long for its place", 0.5) for seed in range(9)]
    sheet = np.asarray(certainty_sheet([("most certain", shown), ("least certain", shown[:1])]))
    white = (sheet == 255).all(axis=2)
    assert not white.all()
    assert white[:, -4:].all(), "nothing runs over the edge"
    assert sheet.shape == (8 + 2 * 30 + 3 * 152, 8 + 8 * 120, 3)
