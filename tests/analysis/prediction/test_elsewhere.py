"""A labelled set elsewhere: read, matched, judged; what the networks know of it is found and said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from analysis.prediction.calibration import Calibration, held_out
from analysis.prediction.ensemble import Ensemble, load_ensemble
from analysis.prediction.evaluation.caveats import caveats_of
from analysis.prediction.evaluation.files import tables_of
from analysis.prediction.evaluation.judge import judge
from analysis.prediction.evaluation.judged import Judged
from analysis.prediction.evaluation.labelled import Labelled, read_labelled
from analysis.prediction.evaluation.overlap import overlap_of
from analysis.prediction.evaluation.page import _known
from analysis.prediction.evaluation.source_stages import with_source_stages
from datamodules.loading import known_content
from datamodules.of_run import listing_of_run
from datamodules.packing.finish import SplitRule
from datamodules.packing.layout import part_name
from datamodules.packing.pack import pack
from datamodules.packing.read import read_manifest
from stages.errors import RelayError
from stages.store import RunFolder
from tests.helpers.elsewhere_store import training_images, write_image, write_networks, write_set
from tests.helpers.explained_store import CLASSES, NATIVE
from tests.helpers.fake_units import FakeUnit, fake_survey
from tests.helpers.stage_helpers import seal


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_networks(folder)
    return folder


@pytest.fixture(scope="module")
def ensemble(home: Path) -> Ensemble:
    return load_ensemble(targets(home), torch.device("cpu"))


def targets(home: Path) -> list[RunFolder]:
    runs = [RunFolder(path) for path in sorted((home / "runs" / "dld").iterdir())]
    return [run for run in runs if len(run.read_record().chain) > 1]


def read(ensemble: Ensemble, where: Path, **changes: Any) -> Labelled:
    return read_labelled(str(where), ensemble.input, ensemble.shape, **{"eight_bit": True, **changes})


def judged(ensemble: Ensemble, where: Path, classes: str | None = None, **changes: Any) -> Judged:
    return judge(ensemble, read(ensemble, where, **changes), title="two_stage", classes=classes)


def titles(found: Judged) -> str:
    return "\n".join(f"{each.title}: {each.text}" for each in caveats_of(found))


def test_networks_that_are_not_finished_are_warned_of(ensemble: Ensemble, tmp_path: Path) -> None:
    new = write_set(tmp_path / "new", classes=("normal",), images=1)
    assert not [each for each in caveats_of(judged(ensemble, new)) if "never learned" in each.title]
    first, *others = ensemble.members
    dull = first.record.plateau.model_copy(update={"learning": False})
    first = replace(first, record=first.record.model_copy(update={"plateau": dull}))
    (found,) = [
        each
        for each in caveats_of(judged(replace(ensemble, members=(first, *others)), new))
        if "never learned" in each.title
    ]
    assert found.serious and found.title.startswith("1 of ")


@pytest.mark.slow
def test_class_folders_with_patients_are_judged_as_the_ensemble_says(
    ensemble: Ensemble, tmp_path: Path
) -> None:
    found = judged(ensemble, write_set(tmp_path / "new"))
    table = tables_of(found)["predictions.csv"]
    pixels = np.stack([np.asarray(Image.open(tmp_path / "new" / path)) for path in table["path"]])
    each = ensemble.probabilities(torch.from_numpy(pixels)).numpy()
    mean = each.mean(axis=0)
    of_class = [f"probability_{name}" for name in ensemble.classes]
    assert table[of_class].to_numpy() == pytest.approx(mean, abs=1e-5)
    said = mean.argmax(axis=1)
    assert table["class"].tolist() == [ensemble.classes[label] for label in said]
    assert table["spread"].to_numpy() == pytest.approx(each[:, range(18), said].std(axis=0, ddof=1), abs=1e-5)
    assert table["true_class"].tolist() == [Path(path).parts[0] for path in table["path"]]
    groups = tables_of(found)["groups.csv"]
    assert set(groups["group"]) == {"group 1", "group 2", "group 3"} == set(table["group"])
    assert groups["images"].tolist() == [6, 6, 6] and found.absent == []
    assert "DOE" not in groups.to_csv() and "DOE" not in titles(found)
    assert "temperature" not in table
    right = (table["class"] == table["true_class"]).mean()
    accuracy = found.metrics[found.metrics["metric"] == "accuracy"].set_index("of")
    assert accuracy.loc["ensemble", "value"] == pytest.approx(right)
    losses = found.metrics[found.metrics["metric"] == "cross_entropy"].set_index("of")
    assert losses.loc["single networks", "covers"] == "other seeds and groups"
    assert found.home is not None and len(found.home.answers.labels) == 15
    assert "known_images.csv" not in tables_of(found)


def test_sets_that_could_not_be_trained_on_can_be_judged(ensemble: Ensemble, tmp_path: Path) -> None:
    one = write_set(tmp_path / "one", classes=("normal",), images=1)
    found = judged(ensemble, one)
    assert found.absent == ["consolidation", "ground_glass"] and found.images == 1
    assert "2 classes of the networks without an image" in titles(found)
    sided = write_set(tmp_path / "sided" / "test")
    shutil.rmtree(sided / "normal")
    assert judged(ensemble, sided.parent).sides == {"test": 12}
    write_set(tmp_path / "sided" / "val", classes=("normal",), images=2)
    assert read(ensemble, sided.parent, side="val").classes == ("normal",)
    assert len(read(ensemble, sided.parent).labels) == 14
    with pytest.raises(RelayError, match=r"side=train: .* has no such images; it has test \(12\), val \(2\)"):
        read(ensemble, sided.parent, side="train")


def test_groups_come_from_a_file_or_a_manifest(ensemble: Ensemble, tmp_path: Path) -> None:
    new = write_set(tmp_path / "new", patients=1)
    paths = sorted(path.relative_to(new).as_posix() for path in new.rglob("*.png"))
    rows = [f"{path},{number % 9}" for number, path in enumerate(paths)]
    (tmp_path / "groups.csv").write_text("\n".join(["path,group", *rows]))
    found = read(ensemble, new, groups=str(tmp_path / "groups.csv"))
    assert len(found.group_names) == 9 and found.groups.tolist() == [n % 9 for n in range(18)]
    rows = [f"{path},{path.split('/')[0]},{number % 4}" for number, path in enumerate(paths)]
    (new / "all.csv").write_text("\n".join(["path,class,group", *rows]))
    listed = read(ensemble, new / "all.csv")
    assert len(listed.group_names) == 4 and listed.classes == CLASSES
    with pytest.raises(RelayError, match="groups is for class folders"):
        read(ensemble, new / "all.csv", groups="groups.csv")


@pytest.mark.slow
def test_a_prepared_set_keeps_its_own_names_and_sides(ensemble: Ensemble, tmp_path: Path) -> None:
    units = [FakeUnit(number, size=NATIVE) for number in range(4)]
    pack(fake_survey(units), tmp_path / "set", SplitRule(), on_error="raise", workers=1)
    found = judged(ensemble, tmp_path / "set", "GGO:ground_glass,NOR:normal")
    manifest = read_manifest(str(tmp_path / "set"))
    assert found.samples == tuple(manifest["sample"]) and found.images == 24
    assert set(found.group_names) == set(manifest["group"]) and not found.answers.groups_are_images
    assert found.sides == manifest["split"].value_counts().to_dict() and len(found.sides) > 1
    of_class = [found.classes[label] for label in found.answers.labels]
    assert of_class == [{"GGO": "ground_glass", "NOR": "normal"}[name] for name in manifest["class"]]
    read_again = read(ensemble, tmp_path / "set")
    (pixels,) = read_again.batches()
    part = np.load(tmp_path / "set" / part_name(0), allow_pickle=False)
    chosen = part[manifest["place"]].astype(float) if (manifest["part"] == 0).all() else None
    assert chosen is not None
    assert pixels == pytest.approx(np.round((chosen + 1000) / 1400 * 255).clip(0, 255), abs=1)
    assert "They are in Hounsfield units" in titles(found)
    with pytest.raises(RelayError, match="the networks do not know: GGO, NOR"):
        judged(ensemble, tmp_path / "set")
    (tmp_path / "set" / part_name(0)).write_bytes(b"damaged")
    with pytest.raises(RelayError, match="part"):
        read(ensemble, tmp_path / "set")


def test_classes_named_otherwise_are_mapped_left_out_or_refused(ensemble: Ensemble, tmp_path: Path) -> None:
    new = write_set(tmp_path / "new", classes=("Ground-Glass", "healthy", "odd"))
    with pytest.raises(RelayError, match="2 classes that the networks do not know: healthy, odd"):
        judged(ensemble, new)
    found = judged(ensemble, new, "healthy:normal,odd:none")
    assert found.images == 12 and found.left_out == 6 and found.absent == ["consolidation"]
    assert [note for note in found.notes if "Ground-Glass is ground_glass" in note]
    assert "6 images left out" in titles(found)


def test_images_that_look_unlike_the_training_images_are_judged_and_said(
    ensemble: Ensemble, home: Path, tmp_path: Path
) -> None:
    own = judged(ensemble, home / "ward-7" / "manifest.csv", side="val")
    assert own.overlap.grey is not None and own.overlap.grey > 0.9 and "unlike" not in titles(own)
    new = write_set(tmp_path / "new")
    for path in new.rglob("*.png"):  # all dark
        write_image(path, (np.asarray(Image.open(path)) // 8).astype(np.uint8))
    path = next(new.rglob("*.png"))
    Image.open(path).convert("RGB").save(path)
    found = judged(ensemble, new)
    assert found.overlap.grey is not None and found.overlap.grey < 0.2
    said = titles(found)
    assert "1 image with three channels, read as grey" in said
    assert f"Their grey levels have {found.overlap.grey:.0%} in common" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: write_image(root / "normal" / "a.png", np.zeros((20, 20), np.uint8)),
            "1 image of .* 20 x 20",
        ),
        (lambda root: write_image(root / "normal" / "a.tif", np.zeros((NATIVE, NATIVE), np.int32)), "int32"),
        (lambda root: (root / "normal" / "a.png").write_bytes(b"no image"), "cannot be read"),
        (shutil.rmtree, "is not there"),
        (lambda root: [shutil.rmtree(each) for each in root.iterdir()], "no class folders"),
    ],
)
def test_images_that_are_not_as_the_training_images_are_refused(
    ensemble: Ensemble, tmp_path: Path, change: Any, message: str
) -> None:
    new = write_set(tmp_path / "new")
    change(new)
    with pytest.raises(RelayError, match=message):
        judged(ensemble, new)


def test_another_size_is_refused_with_both(ensemble: Ensemble, tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", np.arange(64 * 48, dtype=np.uint8).reshape(48, 64))
    with pytest.raises(RelayError, match=r"have 64 x 48 px, those .* trained on 32 x 32 px: cut patches"):
        judged(ensemble, tmp_path)


def test_training_images_are_found_equal_or_nearly_so(ensemble: Ensemble, home: Path, tmp_path: Path) -> None:
    new = write_set(tmp_path / "new")
    (path, name, _), (other, its, _) = training_images(home)[:2]
    shutil.copy(path, new / name / "renamed.png")
    pixels = np.asarray(Image.open(other)).astype(np.int16)
    write_image(new / its / "brighter.png", (pixels + 3).clip(0, 255).astype(np.uint8))
    (seen, _, _) = training_images(home, "val")[0]
    shutil.copy(seen, new / "normal" / "evaluated.png")
    found = judged(ensemble, new)
    known = tables_of(found)["known_images.csv"].set_index("path")["known"].to_dict()
    assert known == {
        f"{name}/renamed.png": "trained on",
        f"{its}/brighter.png": "trained on, nearly equal",
        "normal/evaluated.png": "evaluated at home",
    }
    said = titles(found)
    assert "2 images of the set were trained on" in said and "1 equal in every pixel, 1 nearly" in said
    without = 100 * found.accuracy(~found.overlap.trained)
    trained = f", 2 of which they were trained on (without these {without:.1f}%)"
    assert _known(found) == f"{trained}, and 1 of which their runs were evaluated on"
    assert "on 19 images" in said and "Part is known: 1 image" in said
    assert str(tmp_path) not in said and "ward-7" not in said


def test_training_images_of_a_source_stage_are_found(
    ensemble: Ensemble, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the digest of all files, in the pixels, or not: then that is said."""
    own = Path(shutil.copytree(home / "runs", tmp_path / "runs"))
    new = write_set(tmp_path / "new")
    found, records = read(ensemble, new), [run.read_record() for run in targets(home)]
    folders = [RunFolder(own / "dld" / run.path.name) for run in targets(home)]
    nothing = replace(judged(ensemble, new).overlap, how="")
    assert not nothing.sources.any()
    with TemporaryDirectory() as empty:
        content = known_content(found.listing, empty)
    for number, name in enumerate(("natural", "texture")):
        for path in (own / name).iterdir():
            shutil.copy(folders[0].config, path / "config.yaml")
            source = RunFolder(path)
            said = json.loads(source.record.read_text())
            said["data"] |= {"height": NATIVE, "width": NATIVE, "content": content if number else "f" * 64}
            seal(source, said)
    whole = with_source_stages(nothing, found, folders, records)
    assert whole.sources.all() and "of the source stage texture by the digest of all files" in whole.how
    assert "natural by the digest of all files only (the images that" in whole.how
    (path, name, _) = training_images(home)[0]
    shutil.copy(path, new / name / "renamed.png")
    images = listing_of_run(folders[0])  # as if the source had been trained on the target's
    monkeypatch.setattr("analysis.prediction.evaluation.source_stages.listing_of_run", lambda _: images)
    seen = read(ensemble, new)
    nothing = replace(overlap_of(seen, folders, records, None), trained=np.zeros(19, np.bool_), how="")
    some = with_source_stages(nothing, seen, folders, records)
    assert [seen.samples[row] for row in np.flatnonzero(some.sources)] == [f"{name}/renamed.png"]
    assert "of the source stages texture and natural in the pixels: equal images" in some.how
    shutil.rmtree(own / "texture")
    gone = with_source_stages(nothing, seen, folders, records)
    assert not gone.sources.any() and "natural and texture not at all: no run in the store" in gone.how


def test_the_networks_own_sets_are_refused_or_said(ensemble: Ensemble, home: Path) -> None:
    manifest = home / "ward-7" / "manifest.csv"
    with pytest.raises(RelayError, match=r"every image of .* that the networks were trained on.*side=val"):
        judged(ensemble, manifest, side="train")
    found = judged(ensemble, manifest, side="val")
    assert "This is the networks' own evaluation set: 15 images" in titles(found)
    assert found.home is not None and found.overlap.home_names == tuple(
        read(ensemble, manifest, side="val").hidden
    )


def test_the_locked_test_set_is_not_judged_unseen(home: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(home, tmp_path / "own"))
    for run in targets(own):  # as if a third of the groups had been locked away
        recipe = yaml.safe_load(run.recipe.read_text())
        run.recipe.write_text(yaml.safe_dump(recipe | {"test_fraction": 0.34}))
        seal(run)
    lonely = load_ensemble(targets(own), torch.device("cpu"))
    with pytest.raises(RelayError, match=r"images of .* are of the locked test set .* test=open"):
        judged(lonely, own / "ward-7" / "manifest.csv")


def test_without_the_training_images_it_is_said_how_little_was_looked_for(
    home: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(home, tmp_path / "own"))
    for run in targets(own):
        run.config.unlink()
    lonely = load_ensemble(targets(own), torch.device("cpu"))
    found = judged(lonely, write_set(tmp_path / "new"))
    assert not found.overlap.complete and "single images of the training set would not" in titles(found)
    # content and names still tell the whole set, and the runs' own evaluation images
    for run in targets(own):
        content = run.read_record()
        assert content.data.content is None
    seen = judged(lonely, own / "ward-7" / "manifest.csv", side="val")
    assert seen.overlap.evaluated.all()


def test_what_is_judged_is_not_what_the_temperature_was_fitted_on(
    ensemble: Ensemble, home: Path, tmp_path: Path
) -> None:
    held = held_out(targets(home))
    of_images = np.linspace(0.5, 2.0, 15)
    fitted = Calibration(1.7, held, of_images)
    new = read(ensemble, write_set(tmp_path / "new"))
    found = judge(ensemble, new, title="t", calibration=fitted)
    assert found.raw is not None and found.raw_home is not None and found.home is not None
    assert found.answers.logits == pytest.approx(found.raw.logits / 1.7)
    assert set(tables_of(found)["predictions.csv"]["temperature"]) == {1.7}
    assert found.home.answers.logits == pytest.approx(
        found.raw_home.answers.logits / of_images[None, :, None]
    )
    own = read(ensemble, home / "ward-7" / "manifest.csv", side="val")
    at_home = judge(ensemble, own, title="t", calibration=fitted)
    assert at_home.raw is not None
    used = (at_home.raw.logits / at_home.answers.logits).mean(axis=(0, 2))
    places = {name: place for place, name in enumerate(held.samples)}
    assert used == pytest.approx([of_images[places[name]] for name in own.hidden], rel=1e-4)
    with pytest.raises(RelayError, match="holds 15 of them"):
        judge(ensemble, own, title="t", calibration=Calibration(1.7, held, None, "there is one group only"))
