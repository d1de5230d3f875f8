"""`python -m analysis.visualize` on a small study that train.py trained, of images with patients' names.

The store is looked at once; every test that changes something has a copy.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import analysis.explain.observe
import analysis.explain.observer
import analysis.report.__main__
import analysis.visualize
from analysis.explain.desalinet import backward
from analysis.explain.frequency import frequency_response
from analysis.explain.observations import Observations, load_observations
from analysis.explain.sample_choice import true_class_probability
from analysis.explain.stored_network import load_network
from analysis.report.page import Section, write_files
from analysis.visualize import look_at, main, parse_arguments
from tests.helpers.fake_images import write_image
from tests.helpers.relay import PROJECT, TINY, folders, run

CLASSES = ("consolidation", "ground_glass", "normal")
PATIENTS = ("Meyer-1951", "Schmidt-1948", "Weber-1960")
PLANTED = re.compile("Meyer|Schmidt|Weber|slice-|ward-7|holiday")
SIZE, NATIVE = 63, 32

# What computes; a second look at the same things uses none of them.
COMPUTING = ("backward", "frequency_response", "layer_grams", "curve", "randomisations")

FIGURES = {
    "randomisation",
    "deletion",
    "feature_maps",
    "frequency_response",
    "reference_image",
    "stage_changes",
    "process_likeness",
    "filters",
}
TABLES = {"map_checks", "map_agreement", "frequency_peaks", "stage_changes", "process_likeness"}


@dataclass(frozen=True)
class Looked:
    """A store that was looked at with the command's defaults.

    `store` is as it was left, `printed` what the command said.
    """

    store: Path
    printed: str

    @property
    def seen(self) -> Observations:
        return _seen(self.store)


def _write_lungs(root: Path) -> None:
    """Waves of another length for each class, 8 to train on and 5 to evaluate, each image of a patient."""
    lines = ["path,class,group,split"]
    generator = np.random.default_rng(1)
    place = np.arange(NATIVE)
    for split, count in (("train", 8), ("test", 5)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                wave = np.sin(2 * np.pi * (3 * label + 2) * place / NATIVE + number)
                noisy = 128 + 60 * wave[:, None] + generator.normal(0, 25, (NATIVE, NATIVE))
                path = f"{PATIENTS[number % 3]}/{name}/slice-{split}-{number}.png"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / path)
                lines.append(f"{path},{name},{split} {PATIENTS[number % 3]},{split}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with scratch and two_stage at two seeds, on images that lie beside it in `ward-7`."""
    folder = tmp_path_factory.mktemp("study")
    _write_lungs(folder / "ward-7")
    unset = ("generator", "classes", "train_images", "val_images", "size", "seed")
    dld = [f"data.domains.dld.{key}=null" for key in unset]
    dld += ["kind=manifest", "manifest=manifest.csv", f"root={folder / 'ward-7'}"]
    dld = [each if each.startswith("data.") else f"data.domains.dld.{each}" for each in dld]
    done = run(
        *("process=scratch,two_stage", "seed=0,1", "-m"),
        runs_dir=folder / "runs",
        cache_dir=folder / "cache",
        tiny=[each for each in TINY if not each.startswith("data.domains.dld")],
        last=dld,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs"


@pytest.fixture(scope="module", autouse=True)
def _few_dots() -> Iterator[None]:
    """What the figures look like is looked at, not tested."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("analysis.report.figures.PNG_DPI", 40)
        yield


@pytest.fixture(scope="module")
def looked(trained: Path) -> Looked:
    """Looked at once, with figures. Tests leave it as it is."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([f"runs_dir={trained}"])
    return Looked(trained, printed.getvalue())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


@pytest.fixture
def fresh(trained: Path, tmp_path: Path) -> Path:
    """A copy of the store at which nobody has looked."""
    left_out = shutil.ignore_patterns(".observed", "seen", "report", "last.ckpt")
    return Path(shutil.copytree(trained, tmp_path / "runs", ignore=left_out))


@pytest.fixture
def store(looked: Looked, fresh: Path) -> Path:
    """A copy of the store at which somebody has looked."""
    shutil.copytree(looked.store / ".observed", fresh / ".observed")
    return fresh


@pytest.fixture
def same_choice(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images of all four runs are chosen for fewer too, so that little is to be computed."""
    targets = folders(looked.store, "dld")

    def probability(_: Sequence[Path], *rest: Any) -> Any:
        return true_class_probability(targets, *rest)

    monkeypatch.setattr(analysis.explain.observe, "true_class_probability", probability)


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> dict[str, Section]:
    """What the command makes of a study, by the section's name, filled as the command runs."""
    kept: dict[str, Section] = {}

    def write(made: Sequence[Section], folder: Path) -> None:
        kept.update({section.name: section for section in made})
        write_files(made, folder)

    monkeypatch.setattr(analysis.visualize, "write_files", write)
    return kept


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COMPUTING:
        monkeypatch.setattr(analysis.explain.observer, name, _fails(f"{name} was called"))


def _fails(message: str) -> Callable[..., Any]:
    return lambda *_, **__: pytest.fail(message)


def _seen(store: Path) -> Observations:
    (file,) = (store / ".observed").glob("study-*.npz")
    seen = load_observations(store, file.stem.removeprefix("study-"))
    assert seen is not None
    return seen


def _refused(store: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one message that the command ends with."""
    with pytest.raises(SystemExit) as ended:
        main([f"runs_dir={store}", *arguments])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error:") and printed.out == ""
    return printed.err


def _process(folder: Path) -> str:
    chain = json.loads((folder / "record.json").read_text())["chain"]
    return "scratch" if chain == ["dld"] else "two_stage"


def _target(store: Path, process: str, seed: int) -> Path:
    """The folder of a process's run on the target."""
    (folder,) = [
        folder
        for folder in folders(store, "dld")
        if _process(folder) == process and json.loads((folder / "record.json").read_text())["seed"] == seed
    ]
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _of_runs(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in contents.items() if not name.startswith("study-")}


def test_figures_and_tables_lie_in_the_store(looked: Looked) -> None:
    files = set(_contents(looked.store / "seen"))
    assert files == {
        *(f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")),
        *(f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "tex")),
    }
    for path in (looked.store / "seen" / "figures").iterdir():
        beginning = path.read_bytes()[:100]
        assert beginning.startswith(b"\x89PNG") if path.suffix == ".png" else b"<?xml" in beginning


def test_the_command_says_where_the_figures_lie_and_what_comes_next(looked: Looked) -> None:
    assert looked.printed.splitlines() == [
        f"figures and tables: {looked.store / 'seen'}",
        f"on the page: python -m analysis.report runs_dir={looked.store}",
    ]


def test_every_network_of_the_study_was_looked_at(looked: Looked) -> None:
    seen = looked.seen
    assert seen.processes == ["scratch", "two_stage"]
    assert seen.seeds == {"scratch": [0, 1], "two_stage": [0, 1]}
    targets = [_target(looked.store, name, seed) for name in seen.processes for seed in (0, 1)]
    assert [run_id[:16] for run_id in seen.runs] == [folder.name for folder in targets]
    assert (seen.target, seen.skipped, seen.own) == ("dld", [], None)
    assert seen.facts == {
        "size": SIZE, "native": NATIVE, "stride": 4, "checked": 12, "compared": 15, "tiles": 14,
    }  # fmt: skip
    assert seen.settings["precision"] == ["float32"]  # as it was trained
    assert seen.shown.rows == list(CLASSES)
    assert seen.shown.seed == 0
    for process in seen.processes:
        assert seen.responses[process].shape == (2, SIZE // 2 + 1)
        assert {curves.shape for curves in seen.curves[process].values()} == {(12, 15)}
    chain = {(row["parent"], row["child"]) for row in seen.stages.to_dict("records")}
    assert chain == {("natural", "texture"), ("texture", "dld")}
    assert set(seen.stages["process"]) == {"two_stage"}
    assert set(seen.randomisation["layer"]) == {"conv1", "conv2", "conv3", "conv4", "conv5"}


def _trained_pixels(store: Path) -> torch.Tensor:
    files = sorted((store.parent / "ward-7").rglob("slice-train-*.png"))
    assert len(files) == 24
    return torch.stack([_pixels(file) for file in files])


def _pixels(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(file), dtype=np.float32) / 255)


def _median_images(store: Path) -> list[Path]:
    """Of each class the evaluation image of median mean probability, from the stored predictions."""
    tables = [pq.read_table(folder / "predictions.parquet").to_pandas() for folder in folders(store, "dld")]
    total = np.zeros(15)
    for table in tables:
        logits = torch.tensor(table[[f"logit_{name}" for name in CLASSES]].to_numpy(), dtype=torch.float64)
        total += logits.softmax(1).numpy()[np.arange(15), table["label"]]
    chosen = []
    for label in range(3):
        rows = tables[0].index[tables[0]["label"] == label]
        chosen.append(
            store.parent / "ward-7" / tables[0]["sample"][sorted(rows, key=lambda row: total[row])[2]]
        )
    return chosen


def test_the_maps_shown_are_the_networks_own_of_the_chosen_images(looked: Looked) -> None:
    """Images read from their files, standardised by hand, and mapped back by a network loaded here."""
    shown, training = looked.seen.shown, _trained_pixels(looked.store)
    for row, file in enumerate(_median_images(looked.store)):
        assert shown.rows[row] == file.parent.name
        enlarged = torch.nn.functional.interpolate(
            _pixels(file)[None, None], size=(SIZE, SIZE), mode="bicubic", align_corners=False
        )
        np.testing.assert_allclose(shown.images[row], enlarged[0, 0].clamp(0, 1), atol=1e-5)
        given = ((enlarged - training.mean()) / training.std(correction=0)).expand(1, 3, SIZE, SIZE)
        for column, process in enumerate(("scratch", "two_stage")):
            network = load_network(_target(looked.store, process, 0))
            summed = backward(network, given.contiguous(), "pool5", "desalinet")
            heat = summed.square().sum(1).sqrt()[0]
            np.testing.assert_allclose(shown.heat[row, column], heat / heat.mean(), rtol=0.02, atol=0.02)
            grey = summed.sum(1)[0]
            expected = (grey - grey.min()) / (grey.max() - grey.min())
            np.testing.assert_allclose(shown.maps[row, column], expected, atol=0.02)


def test_responses_and_filters_are_each_network_s_own(looked: Looked) -> None:
    seen = looked.seen
    for process, seed in (("scratch", 1), ("two_stage", 0)):
        network = load_network(_target(looked.store, process, seed))
        _, gain = frequency_response(network, SIZE, count=180)
        np.testing.assert_allclose(seen.responses[process][seed], gain, rtol=1e-5)
        weights = torch.load(_target(looked.store, process, 0) / "model.ckpt", weights_only=True)
        weights = weights.get("state_dict", weights)
        (first,) = [value for name, value in weights.items() if name.endswith("conv1.weight")]
        np.testing.assert_array_equal(seen.filters[process], first)


@pytest.mark.usefixtures("nothing_computed")
def test_looking_again_computes_nothing_and_gives_the_same_bytes(
    looked: Looked, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _contents(store / ".observed")
    times = {path: path.stat().st_mtime_ns for path in (store / ".observed").glob("*/*.npz")}
    loaded: list[Path] = []

    def load(folder: Path) -> torch.nn.Module:
        loaded.append(folder)
        return load_network(folder)

    monkeypatch.setattr(analysis.explain.observer, "load_network", load)
    main([f"runs_dir={store}"])
    assert len(loaded) <= 1  # for the stride of its first layer
    assert _contents(store / ".observed") == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert _contents(store / "seen") == _contents(looked.store / "seen")


def _look(store: Path, *arguments: str) -> Observations:
    """Look without drawing or saving, in half the time."""
    return look_at(parse_arguments([f"runs_dir={store}", *arguments]))[1]


@pytest.mark.usefixtures("undrawn")
def test_interrupted_it_keeps_what_it_has_and_goes_on_from_there(
    looked: Looked, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is known of the last run, and of no run the response: it ends in the second one's."""
    observed, last = store / ".observed", _target(store, "two_stage", 1)
    for file in {*observed.glob("study-*"), *observed.glob("*/response-*"), *observed.glob(f"{last.name}/*")}:
        file.unlink()
    calls = 0

    def interrupted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return frequency_response(*arguments, **named)

    monkeypatch.setattr(analysis.explain.observer, "frequency_response", interrupted)
    with pytest.raises(SystemExit) as ended:
        main([f"runs_dir={store}"])
    assert ended.value.code == 130
    printed = capsys.readouterr()
    assert printed.out.startswith("Interrupted. What has been computed is kept") and printed.err == ""
    assert not (store / "seen").exists()
    whole, kept = _contents(looked.store / ".observed"), _contents(observed)
    assert all(whole[name] == content for name, content in kept.items())
    assert sum("response-" in name for name in kept) == 1
    assert not any(name.startswith((last.name, "study-")) for name in kept)

    times = {path: path.stat().st_mtime_ns for path in observed.glob("*/*.npz")}
    main([f"runs_dir={store}"])
    assert calls == 5  # three more
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert _contents(observed) == whole


def _other_values(content: bytes) -> bytes:
    """The same file with some of its numbers' bits turned: the checksum does not fit."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"something else",
        lambda content: content[: len(content) // 2],
        _other_values,
    ],
    ids=["empty", "other bytes", "cut short", "flipped bits"],
)
def test_a_damaged_file_is_computed_again(store: Path, damage: Callable[[bytes], bytes]) -> None:
    before = _contents(store / ".observed")
    observed = store / ".observed" / _target(store, "two_stage", 1).name
    for kind in ("deletion", "heat", "grams"):
        (file,) = observed.glob(f"{kind}-*.npz")
        file.write_bytes(damage(file.read_bytes()))
    _look(store)
    assert _contents(store / ".observed") == before


def test_a_file_of_other_contents_is_computed_again(store: Path) -> None:
    """A whole file, without what is looked for in it."""
    before = _contents(store / ".observed")
    (file,) = (store / ".observed" / _target(store, "scratch", 0).name).glob("deletion-*.npz")
    np.savez(file, other=np.zeros(3))
    _look(store)
    assert _contents(store / ".observed") == before


def test_no_object_in_a_kept_file_is_unpickled(store: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "trace"),)

    before = _contents(store / ".observed")
    (file,) = (store / ".observed" / _target(store, "scratch", 0).name).glob("heat-*.npz")
    np.savez(file, heat=np.asarray([Trap()], dtype=object))
    _look(store)
    assert not (tmp_path / "trace").exists()
    assert _contents(store / ".observed") == before


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ("norm=unit", {"response"}),
        ("directions=cosine", {"response"}),
        ("precision=bfloat16", {"response"}),
        ("layer=pool2", {"response", "heat", "maps", "deletion", "randomisation"}),
        ("rule=saliency", {"response", "heat", "maps", "deletion", "randomisation"}),
        ("window=5", set()),
    ],
)
def test_another_question_has_files_of_its_own(
    looked: Looked, store: Path, monkeypatch: pytest.MonkeyPatch, asked: str, kinds: set[str]
) -> None:
    """What was known before stays, so that the first question asked again is answered from disk."""
    key, value = asked.split("=")
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def response(*arguments: Any, **named: Any) -> tuple[Any, Any]:
        calls.append((arguments, named))
        gain = np.linspace(0.0, 1.0, SIZE // 2 + 1)
        return gain, gain

    before, first = _of_runs(_contents(store / ".observed")), looked.seen
    with monkeypatch.context() as patched:
        patched.setattr(analysis.explain.observer, "frequency_response", response)
        patched.setattr(analysis.explain.observer, "curve", _cheap_curve)
        seen = _look(store, asked)
    after = _of_runs(_contents(store / ".observed"))
    assert {name: after[name] for name in before} == before
    new = {Path(name).name.split("-")[0] for name in after.keys() - before.keys()}
    assert new - {"grams", "filters"} == kinds  # these two depend on no setting, and may be kept by all
    assert len(calls) == (4 if "response" in kinds else 0)
    for (_, size, layer, rule), named in calls:
        assert {"size": size, "layer": layer, "rule": rule, **named}[key] == value
    assert seen.settings[key] in (value, [value], int(value) if value.isdecimal() else value)
    for name in COMPUTING:
        monkeypatch.setattr(analysis.explain.observer, name, _fails(f"{name} was called"))
    again = _look(store)
    np.testing.assert_array_equal(again.responses["scratch"], first.responses["scratch"])
    np.testing.assert_array_equal(again.shown.maps, first.shown.maps)


@pytest.mark.usefixtures("undrawn")
def test_own_images_are_mapped_back_beside_the_set_s(
    store: Path, tmp_path: Path, sections: dict[str, Section]
) -> None:
    own = tmp_path / "holiday"
    write_image(own / "1-Meyer.png", seed=1, size=(NATIVE, NATIVE))
    write_image(own / "2-Schmidt.png", seed=2, size=(NATIVE, NATIVE), channels=3)
    palette = Image.fromarray(np.eye(40, dtype=np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 200, 100, 0])
    palette.save(own / "3-Weber.png")
    write_image(own / "4-Meyer.jpg", seed=4, size=(90, 50))
    main([f"runs_dir={store}", f"images={own}"])
    seen = _seen(store)
    assert seen.own is not None
    assert seen.own.rows == ["image 1", "image 2", "image 3", "image 4"]
    assert seen.own.maps.shape == seen.own.heat.shape == (4, 2, SIZE, SIZE)
    assert seen.own.images.shape == (4, SIZE, SIZE)
    assert seen.own.maps.min() == 0.0 and seen.own.maps.max() == 1.0
    assert len({maps.tobytes() for maps in seen.own.maps}) == 4
    assert (seen.own.seed, seen.shown.seed) == (0, 0)
    assert (store / "seen" / "figures" / "own_feature_maps.svg").is_file()
    assert "own_feature_maps" in {picture.name for picture in sections["maps"].all_pictures}
    _assert_nobody_is_named(store, own)


@pytest.mark.usefixtures("undrawn")
def test_figures_of_an_earlier_look_do_not_stay_among_the_new(store: Path, tmp_path: Path) -> None:
    """Else somebody takes the map of images that were not given for that of this look."""
    write_image(tmp_path / "holiday" / "1.png")
    main([f"runs_dir={store}", f"images={tmp_path / 'holiday'}"])
    main([f"runs_dir={store}"])
    assert _seen(store).own is None
    assert {path.stem for path in (store / "seen" / "figures").iterdir()} == FIGURES


def _assert_nobody_is_named(store: Path, *roots: Path) -> None:
    """No patient, file or folder of images in what the analysis wrote."""
    paths = [str(store.parent), *map(str, roots)]
    written = [
        path
        for folder in (store / "seen", store / "report", store / ".observed")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert written
    for path in written:
        assert PLANTED.search(path.name) is None
        for content in _texts(path):
            assert PLANTED.search(content) is None, path
            assert not any(each in content for each in paths), path


def _texts(path: Path) -> Iterator[str]:
    """A file as text, and the parts of an archive; numpy stores strings as four bytes a letter."""
    contents = [path.read_bytes()]
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            contents += [archive.read(name) for name in archive.namelist()]
    for content in contents:
        yield content.decode("latin-1")
        yield content.replace(b"\0", b"").decode("latin-1")


def test_the_page_has_what_was_seen_and_names_nobody(looked: Looked) -> None:
    samples = pq.read_table(folders(looked.store, "dld")[0] / "predictions.parquet").to_pandas()
    assert all(PLANTED.search(name) for column in ("sample", "group") for name in samples[column])  # planted
    analysis.report.__main__.main([f"runs_dir={looked.store}"])
    report = looked.store / "report"
    page = (report / "report.html").read_text()
    assert "Nobody has looked" not in page
    for section in ("maps", "frequencies", "layers"):
        assert f'id="{section}"' in page
    for name in FIGURES:
        content = (report / "figures" / f"{name}.svg").read_bytes()
        assert content == (looked.store / "seen" / "figures" / f"{name}.svg").read_bytes()
    for name in TABLES:
        content = (report / "tables" / f"{name}.csv").read_bytes()
        assert content == (looked.store / "seen" / "tables" / f"{name}.csv").read_bytes()
    # The page names the store's runs by folder, relative to it; absolute paths are nowhere.
    _assert_nobody_is_named(looked.store)


@pytest.mark.usefixtures("undrawn", "nothing_computed")
def test_out_and_study_are_taken(looked: Looked, store: Path, tmp_path: Path) -> None:
    main([f"runs_dir={store}", f"out={tmp_path / 'elsewhere'}", f"study={looked.seen.study[:5]}"])
    assert (tmp_path / "elsewhere" / "figures" / "feature_maps.svg").is_file()
    assert not (store / "seen").exists()


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
        (_sixteen_bits, r"image 1 of .*holiday has more than 8 bits a channel"),
    ],
)
def test_own_images_that_are_none_are_refused_before_anything_is_computed(
    fresh: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    message: str,
) -> None:
    make(tmp_path / "holiday")
    printed = _refused(fresh, f"images={tmp_path / 'holiday'}", capsys=capsys)
    assert re.search(message, printed)
    assert not (fresh / ".observed").exists()


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count=3"], r"'count=3' is not one of runs_dir=VALUE, out=VALUE"),
        (["rule=gradcam"], r"rule is 'gradcam'; choose one of desalinet, saliency, deconvnet"),
        (["norm=none"], r"norm is 'none'; choose one of paper, unit"),
        (["directions=all"], r"directions is 'all'; choose one of grid, cosine"),
        (["precision=float64"], r"precision is 'float64'; choose one of auto, float32, bfloat16"),
        (["wandb=auto"], r"wandb is 'auto'; choose one of disabled, offline, online"),
        (["window=wide"], r"window is 'wide'; give an odd number"),
        (["window=-3"], r"window is '-3'; give an odd number"),
        (["window=²"], r"window is '²'; give an odd number"),
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
    assert re.search(message, _refused(fresh, *arguments, capsys=capsys))
    assert not (fresh / ".observed").exists()


def test_an_unknown_layer_is_refused_with_those_there_are(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = _refused(fresh, "layer=pool9", capsys=capsys)
    assert "no layer 'pool9'; its layers are conv1, relu1" in printed and "pool5" in printed


def test_a_wrong_window_leaves_the_page_as_it_is(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be drawn is not saved: the report would be refused for it until somebody looks again."""
    before = _contents(store / ".observed")
    _refused(store, "window=4", capsys=capsys)
    assert _contents(store / ".observed") == before


def test_no_store_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder" in _refused(tmp_path / "none", capsys=capsys)


@pytest.mark.parametrize("kept", [[], ["natural", "texture"]], ids=["empty", "sources alone"])
def test_a_store_without_a_study_is_one_message(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: list[str]
) -> None:
    (tmp_path / "runs").mkdir()
    for stage in kept:
        shutil.copytree(trained / stage, tmp_path / "runs" / stage)
    assert "no finished" in _refused(tmp_path / "runs", capsys=capsys)


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_a_run_without_its_weights_is_left_out_and_named(
    store: Path, capsys: pytest.CaptureFixture[str], sections: dict[str, Section]
) -> None:
    gone = _target(store, "two_stage", 0)
    (gone / "model.ckpt").unlink()
    main([f"runs_dir={store}"])
    named = f"two_stage, seed 0: dld/{gone.name} has no model.ckpt"
    assert capsys.readouterr().out.splitlines()[0] == f"left out: {named}"
    seen = _seen(store)
    assert seen.seeds == {"scratch": [0, 1], "two_stage": [1]}
    assert (seen.skipped, seen.shown.seed) == ([named], 1)
    assert f"Left out: {named}." in sections["maps"].text
    caption = next(each.caption for each in sections["frequencies"].pictures if "response" in each.name)
    assert "one seed only, so no band: (4) two_stage." in caption


def test_without_any_weights_there_is_nothing_to_look_at(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in folders(store, "dld"):
        (folder / "model.ckpt").unlink()
    printed = _refused(store, capsys=capsys)
    assert "there is no network to look at: scratch, seed 0: dld/" in printed
    assert printed.count("has no model.ckpt") == 4


@pytest.mark.usefixtures("nothing_computed")
def test_a_source_without_its_weights_takes_away_its_comparisons_only(store: Path) -> None:
    for folder in folders(store, "natural"):
        (folder / "model.ckpt").unlink()
    stages = _look(store).stages
    assert set(zip(stages["parent"], stages["child"], strict=True)) == {("texture", "dld")}


def test_weights_that_are_no_numbers_are_refused_by_name(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _target(fresh, "scratch", 1) / "model.ckpt"
    content = torch.load(file, weights_only=True)
    weights = content.get("state_dict", content)
    next(value for name, value in weights.items() if name.endswith("conv2.weight")).fill_(float("nan"))
    torch.save(content, file)
    # The first run need not be computed for this.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(analysis.explain.observer, "frequency_response", _cheap_response)
        printed = _refused(fresh, capsys=capsys)
    assert f"{file} has weights that are NaN or infinite: conv2.weight" in printed


def _cheap_curve(_: Any, images: Any, *__: Any, steps: int, **___: Any) -> torch.Tensor:
    return torch.zeros(len(images), steps + 1, dtype=torch.float64)


def _cheap_response(*_: Any, **__: Any) -> tuple[Any, Any]:
    gain = np.linspace(0.0, 1.0, SIZE // 2 + 1)
    return gain, gain


@pytest.mark.usefixtures("nothing_computed")
def test_one_configuration_is_enough_and_none_is_not(
    looked: Looked, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *others, last = folders(store, "dld")
    for folder in others:
        (folder / "config.yaml").unlink()
    np.testing.assert_array_equal(_look(store).shown.maps, looked.seen.shown.maps)
    (last / "config.yaml").unlink()
    printed = _refused(store, capsys=capsys)
    assert re.search(r"no run of study \w+ has a config\.yaml, which says where its images are", printed)


@pytest.mark.usefixtures("nothing_computed")
def test_predictions_of_another_set_are_refused_by_name(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _target(fresh, "two_stage", 1) / "predictions.parquet"
    table = pq.read_table(file).to_pandas()
    table["sample"] = [f"other-{name}" for name in table["sample"]]
    pq.write_table(pa.Table.from_pandas(table), file)
    printed = _refused(fresh, capsys=capsys)
    assert f"{file} is of another evaluation set" in printed
    assert PLANTED.search(printed.replace(str(fresh.parent), "")) is None


@pytest.mark.usefixtures("nothing_computed")
def test_images_that_were_changed_since_are_refused(
    fresh: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images = fresh.parent.parent / "images-moved"
    for folder in folders(fresh, "dld"):
        text = (folder / "config.yaml").read_text()
        (old,) = set(re.findall(r"root: (\S*ward-7)", text))
        if not images.exists():
            shutil.copytree(old, images)
            with (images / "manifest.csv").open("a") as manifest:
                manifest.write("new.png,normal,somebody,test\n")
            write_image(images / "new.png", size=(NATIVE, NATIVE))
        (folder / "config.yaml").write_text(text.replace(old, str(images)))
    printed = _refused(fresh, capsys=capsys)
    assert "are not those the run was trained on: files were added, removed or renamed since" in printed


def _without(store: Path, *cells: tuple[str, int]) -> None:
    for process, seed in cells:
        shutil.rmtree(_target(store, process, seed))


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_one_seed_has_no_band_and_nothing_within_a_process(store: Path, sections: dict[str, Section]) -> None:
    _without(store, ("scratch", 1), ("two_stage", 1))
    main([f"runs_dir={store}"])
    seen = _seen(store)
    within = seen.agreement[seen.agreement["process_a"] == seen.agreement["process_b"]]
    assert len(within) == 2 and within["rank"].isna().all()
    caption = next(each.caption for each in sections["frequencies"].pictures if "response" in each.name)
    assert "one seed only, so no band: (1) scratch, (4) two_stage." in caption
    (checks,) = sections["maps"].tables
    assert "nan" not in checks.to_csv().lower() and "nan" not in checks.to_latex().lower()


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_processes_without_a_common_seed_are_shown_apart_and_it_is_said(
    store: Path, sections: dict[str, Section]
) -> None:
    _without(store, ("scratch", 1), ("two_stage", 0))
    main([f"runs_dir={store}"])
    seen = _seen(store)
    assert seen.shown.seed is None and seen.processes_cka.empty
    between = seen.agreement[
        (seen.agreement["process_b"] == "two_stage") & (seen.agreement["process_a"] == "scratch")
    ]
    assert between["rank"].isna().all()
    assert "The processes have no seed in common, so each is shown at its first." in sections["maps"].text
    names = {picture.name for section in sections.values() for picture in section.all_pictures}
    assert names == FIGURES - {"process_likeness"}
    captions = [picture.caption for picture in sections["maps"].pictures if picture.name == "feature_maps"]
    assert "each process's first seed" in captions[0]


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_scratch_alone_has_no_stages_and_no_agreement(store: Path, sections: dict[str, Section]) -> None:
    _without(store, ("two_stage", 0), ("two_stage", 1))
    for stage in ("natural", "texture"):
        shutil.rmtree(store / stage)
    main([f"runs_dir={store}"])
    names = {picture.name for section in sections.values() for picture in section.all_pictures}
    assert names == FIGURES - {"process_likeness", "stage_changes"}
    tables = {table.name for section in sections.values() for table in section.all_tables}
    assert tables == {"map_checks", "frequency_peaks"}
    analysis.report.__main__.main([f"runs_dir={store}"])
    page = (store / "report" / "report.html").read_text()
    assert "there is no stage to compare with" in page


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
    assert ended.value.code == 1
    assert "give the store: python -m analysis.visualize runs_dir=runs" in capsys.readouterr().err
