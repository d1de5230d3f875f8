"""`python -m analysis.visualize`: what it writes and prints, and which arguments it refuses."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.report.__main__ import main as report
from analysis.visualize import main
from tests.helpers.explained_store import FIGURES, TABLES, ExplainedStore, contents, refused
from tests.helpers.relay import PROJECT


def test_figures_and_tables_lie_in_the_store(explained: ExplainedStore) -> None:
    files = set(contents(explained.store / "explanations"))
    assert files == {
        *(f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")),
        *(f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "tex")),
    }
    for path in (explained.store / "explanations" / "figures").iterdir():
        beginning = path.read_bytes()[:100]
        assert beginning.startswith(b"\x89PNG") if path.suffix == ".png" else b"<?xml" in beginning


def test_the_command_says_where_the_figures_lie_and_what_comes_next(explained: ExplainedStore) -> None:
    assert explained.printed.splitlines() == [
        f"figures and tables: {explained.store / 'explanations'}",
        f"on the page: python -m analysis.report runs_dir={explained.store}",
    ]


@pytest.mark.usefixtures("undrawn", "nothing_computed")
def test_out_and_study_are_taken(explained: ExplainedStore, store: Path, tmp_path: Path) -> None:
    main(
        [f"runs_dir={store}", f"out={tmp_path / 'elsewhere'}", f"study={explained.explained.facts.study[:5]}"]
    )
    assert (tmp_path / "elsewhere" / "figures" / "feature_maps.svg").is_file()
    assert not (store / "explanations").exists()


def _empty_folder(own: Path) -> None:
    own.mkdir()


def _no_folder(own: Path) -> None:
    pass


def _text_named_png(own: Path) -> None:
    own.mkdir()
    (own / "a.png").write_text("a text")


def _sixteen_bits(own: Path) -> None:
    own.mkdir()
    Image.fromarray(np.full((8, 8), 3000, dtype=np.uint16)).save(own / "a.png")


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_empty_folder, r"holiday has no images \(\.png"),
        (_no_folder, r"there is no folder .*holiday; give one with images"),
        (_text_named_png, r"image 1 of .*holiday, in the order of names, cannot be read"),
        (_sixteen_bits, r"image 1 of .*holiday, .* it has more than 8 bits per channel"),
    ],
)
def test_own_images_that_cannot_be_read_are_refused_before_anything_is_computed(
    fresh: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    message: str,
) -> None:
    make(tmp_path / "holiday")
    printed = refused(fresh, f"images={tmp_path / 'holiday'}", capsys=capsys)
    assert re.search(message, printed)
    assert not (fresh / ".explanations").exists()


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count=3"], r"count is not a setting; "),
        (["rule=gradcam"], r"rule is 'gradcam'; it must be one of desalinet, saliency, deconvnet"),
        (["norm=none"], r"norm is 'none'; it must be one of paper, unit"),
        (["directions=all"], r"directions is 'all'; it must be one of grid, cosine"),
        (["precision=float64"], r"precision is 'float64'; did you mean bfloat16 or float32\?"),
        (["wandb=auto"], r"wandb is 'auto'; it must be one of disabled, offline, online"),
        (["window=wide"], r"window is 'wide'; it must be an odd number"),
        (["window=-3"], r"window is -3; it must be an odd number"),
        (["window=²"], r"window is '²'; it must be an odd number"),
        (["window=4"], r"window is 4; give an odd number"),
        (["window=1"], r"window is 1; give an odd number"),
        (["window=33"], r"window is 33; give an odd number from 3 to 32"),
        (["study=zzzz"], r"study=zzzz names none of the store's studies"),
        (["runs_dir=other"], r"runs_dir is given twice"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_refused_before_anything_is_computed(
    fresh: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert re.search(message, refused(fresh, *arguments, capsys=capsys))
    assert not (fresh / ".explanations").exists()


def test_an_unknown_layer_is_refused_with_those_there_are(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = refused(fresh, "layer=pool9", capsys=capsys)
    assert "no layer 'pool9'; its layers are conv1, relu1" in printed and "pool5" in printed


def test_a_wrong_window_leaves_the_page_as_it_is(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be drawn is not saved: otherwise no report could be made until it is replaced."""
    before = contents(store / ".explanations")
    refused(store, "window=4", capsys=capsys)
    assert contents(store / ".explanations") == before


def test_no_store_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder" in refused(tmp_path / "none", capsys=capsys)


@pytest.mark.parametrize("command", [main, report])
def test_a_place_that_is_only_read_is_refused_before_anything_is_computed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[Sequence[str]], None],
) -> None:
    """As a read-only mount answers, also to root; with `out` typed the store need not be written."""
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    with pytest.raises(SystemExit, match="2"):
        command([f"runs_dir={tmp_path / 'runs'}"])
    said = capsys.readouterr().err
    assert f"{tmp_path / 'runs'} is read-only. Choose another: out=..." in said
    with suppress(SystemExit):  # there is nothing in it, which visualize says
        command([f"runs_dir={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"])
    assert "read-only" not in capsys.readouterr().err


@pytest.mark.parametrize("kept", [[], ["natural", "texture"]], ids=["empty", "sources alone"])
def test_a_store_without_a_study_is_one_message(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: list[str]
) -> None:
    (tmp_path / "runs").mkdir()
    for stage in kept:
        shutil.copytree(written / stage, tmp_path / "runs" / stage)
    assert "no finished" in refused(tmp_path / "runs", capsys=capsys)


def test_the_command_as_typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = str(PROJECT / "analysis" / "visualize.py")
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    runpy.run_path(command, run_name="__main__")
    printed = capsys.readouterr().out
    for key in ("runs_dir=FOLDER", "images=FOLDER", "layer=pool5", "window=11", "wandb=disabled"):
        assert key in printed
    monkeypatch.setattr(sys, "argv", [command, "layer=pool5"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(command, run_name="__main__")
    assert ended.value.code == 2
    assert "give the store: python -m analysis.visualize runs_dir=runs" in capsys.readouterr().err
