"""Folds of every kind of source: pooled where that is meant, decoded once, refused before training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from datamodules.batches.subset import stratified_subset
from datamodules.division import divide
from datamodules.from_config import load_sources
from datamodules.listing import Listing, list_source
from datamodules.loading import load
from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from datamodules.splits import Division
from datamodules.survey import Listings, check_divisions
from lightning_modules.resolve import resolve
from stages.config import Config
from stages.errors import RelayError
from stages.plan import Plan
from stages.planner import build_plan
from stages.recipe import RatioUnit
from stages.source import Source
from tests.helpers.fake_images import CLASSES, class_folders, manifest, split_folders
from tests.helpers.fake_units import FakeUnit, fake_survey
from tests.helpers.stage_helpers import compose_stage, request, with_value

SIX = [(f"{n}-{name}.png", name, f"p{n}") for n in range(6) for name in CLASSES]


def grouped_folders(root: Path) -> Source:
    class_folders(root, images=6)
    rows = [f"{name}/{n:03d}.png,p{n}" for n in range(6) for name in CLASSES]
    (root / "groups.csv").write_text("\n".join(["path,group", *rows]))
    return Source(kind="folder", root=str(root), groups="groups.csv")


def unsplit_manifest(root: Path) -> Source:
    manifest(root, SIX, columns=("path", "class", "group"))
    return Source(kind="manifest", root=str(root), manifest="manifest.csv")


def split_manifest(root: Path) -> Source:
    sides = ("train", "train", "train", "val", "eval", "test")
    manifest(root, [(*row, sides[int(row[0][0])]) for row in SIX])
    return Source(kind="manifest", root=str(root), manifest="manifest.csv")


def packed(root: Path, *, provided: bool) -> Source:
    split = {number: ("val" if number > 3 else "train") if provided else None for number in range(6)}
    units = [FakeUnit(number, size=8, count=4, split=split[number]) for number in range(6)]  # type: ignore[arg-type]
    pack(fake_survey(units), root, SplitRule(), on_error="raise", workers=1)
    return Source(kind="packed", root=str(root))


def embedded(_: Path) -> Source:
    return Source(
        kind="embedded", generator="dld", classes=7, train_images=140, val_images=70, size=16, seed=0
    )


def of_source(config: Config, source: Source) -> Config:
    return with_value(config, "data.domains", {**config.data.domains, "dld": source})  # type: ignore[no-any-return]


def planned(source: Source, folds: int = 2, seeds: int = 1) -> Plan:
    def compose(stage: str, overrides: tuple[str, ...]) -> Config:
        return of_source(compose_stage(stage, overrides), source)

    asked = [
        replace(request("dld", seed=seed), folds=folds, fold=fold)
        for seed in range(seeds)
        for fold in range(folds)
    ]
    return build_plan(asked, compose, list_source, resolve)


def in_folds(listing: Listing, cache: Path, folds: int = 2, limit: int = 10**8) -> list[tuple[str, ...]]:
    """Samples of the evaluation side of each fold, all sides checked."""
    evaluated = []
    for fold in range(folds):
        domain = load(listing, cache, memory_limit_bytes=limit)
        divided = divide(domain, listing.source, Division(folds=folds, fold=fold))
        train, val, test = divided.train, divided.val, divided.test
        assert not set(train.groups) & set(val.groups)
        assert len(train) + len(val) + len(test) == sum(map(len, (domain.train, domain.val, domain.test)))
        assert test.samples == domain.test.samples
        evaluated.append(val.samples)
    assert len({path.name for path in cache.glob("*.lock")}) <= 1, "decoded once for all folds"
    return evaluated


@pytest.mark.parametrize(
    ("made", "images"),
    [
        (grouped_folders, 12),
        (unsplit_manifest, 12),
        (lambda root: packed(root, provided=False), 24),
        (embedded, 210),
    ],
)
@pytest.mark.parametrize("limit", [10**8, 0])
def test_every_image_is_evaluated_once(tmp_path: Path, made: object, images: int, limit: int) -> None:
    source = made(tmp_path / "images")  # type: ignore[operator]
    listing = list_source(source)
    assert not listing.provided
    if source.kind == "embedded":
        limit = 10**8
    evaluated = [sample for fold in in_folds(listing, tmp_path / "cache", limit=limit) for sample in fold]
    assert len(set(evaluated)) == len(evaluated) == images
    digests = {run.recipe.data.digest for run in planned(source, seeds=2).runs.values()}
    assert digests == {listing.digest}, "neither the fold nor the seed is the data's"


@pytest.mark.parametrize("made", [split_manifest, partial(packed, provided=True), "folders"])
def test_a_split_of_its_own_is_pooled_only_when_that_is_said(tmp_path: Path, made: object) -> None:
    root = tmp_path / "images"
    folders = Source(kind="folder", root=str(root))
    source = made(root) if callable(made) else replace(folders, root=str(split_folders(root)))
    assert list_source(source).provided
    with pytest.raises(RelayError, match=r"folds=2, but .* Add data\.domains\.dld\.split=ignore to pool"):
        planned(source)
    ignoring = replace(source, split="ignore")
    listing = list_source(ignoring)
    assert not listing.provided and listing.digest != list_source(source).digest
    evaluated = [sample for fold in in_folds(listing, tmp_path / "cache") for sample in fold]
    whole = load(list_source(source), tmp_path / "other", memory_limit_bytes=10**8)
    assert sorted(evaluated) == sorted(whole.train.samples + whole.val.samples), "but not the test side"
    assert len(planned(ignoring).runs) == 2
    drawn = replace(ignoring, val_fraction=0.4)
    assert planned(drawn).runs.keys() == planned(ignoring).runs.keys(), "folds draw no val_fraction"
    divided = divide(load(list_source(drawn), tmp_path / "c", memory_limit_bytes=10**8), drawn, Division())
    assert len(divided.train) and len(divided.val)
    with pytest.raises(RelayError, match="do not say which are for evaluation"):
        build_plan(
            [request("dld")],
            lambda stage, overrides: of_source(compose_stage(stage, overrides), ignoring),
            list_source,
            resolve,
        )
    with pytest.raises(RelayError, match="remove them, or set `split` to ignore"):
        list_source(replace(source, val_fraction=0.4))


def test_what_cannot_be_divided_is_refused_before_an_image_is_decoded(tmp_path: Path) -> None:
    for source in (unsplit_manifest(tmp_path / "a"), packed(tmp_path / "b", provided=False)):
        with pytest.raises(RelayError, match="stage dld: 7 folds of 6 groups; give at most 6"):
            check_divisions(planned(source, 7).runs.values(), Listings().names)
    alone = [(path, name, "p0") for path, name, _ in SIX]
    manifest(tmp_path / "c", alone, columns=("path", "class", "group"))
    one = Source(kind="manifest", root=str(tmp_path / "c"), manifest="manifest.csv", val_fraction=0.3)
    of_one = build_plan(
        [request("dld")],
        lambda stage, overrides: of_source(compose_stage(stage, overrides), one),
        list_source,
        resolve,
    )
    with pytest.raises(RelayError, match="stage dld: all samples are of one group"):
        check_divisions(of_one.runs.values(), Listings().names)
    plan = planned(embedded(tmp_path), 50)
    assert check_divisions(plan.runs.values(), Listings().names) == [], "not known before they are drawn"
    config = next(iter(plan.runs.values())).config
    cached = with_value(config, "paths.cache_dir", str(tmp_path / "cache"))
    for tested in (cached, with_value(cached, "test_fraction", 0.3)):
        asked = [replace(request("dld"), folds=50, fold=0)]
        plan = build_plan(asked, lambda *_, tested=tested: tested, list_source, resolve)
        with pytest.raises(RelayError, match="stage dld: 50 folds"):
            load_sources(plan.runs.values(), Listings())


def test_stages_of_the_same_images_are_each_looked_at(tmp_path: Path) -> None:
    """Though their sources draw other noise; the second asks for what cannot be."""
    of_texture = replace(embedded(tmp_path), noise=3.0)

    def compose(stage: str, overrides: tuple[str, ...]) -> Config:
        config = compose_stage(stage, overrides)
        config = with_value(config, "paths.cache_dir", str(tmp_path / "cache"))
        return with_value(  # type: ignore[no-any-return]
            config,
            "data.domains",
            {**config.data.domains, "texture": of_texture, "dld": replace(of_texture, noise=9.0)},
        )

    def loaded(folds: int) -> list[str]:
        asked = [replace(request("texture", "dld"), folds=folds, fold=0)]
        return load_sources(build_plan(asked, compose, list_source, resolve).runs.values(), Listings())

    drawn = [note.partition(": drawn")[0] for note in loaded(2) if "noise of" in note]
    assert drawn == ["dld", "texture"]
    with pytest.raises(RelayError, match="stage dld: 50 folds"):
        loaded(50)


def test_it_is_said_where_nothing_can_be_said_of_patients(tmp_path: Path) -> None:
    class_folders(tmp_path / "a", images=6)
    notes = [
        check_divisions(planned(source, seeds=2).runs.values(), Listings().names)
        for source in (Source(kind="folder", root=str(tmp_path / "a")), grouped_folders(tmp_path / "b"))
    ]
    assert [len(each) for each in notes] == [1, 0]
    assert notes[0][0].startswith("dld: no two images share a group, so that folds are of images; nothing")


def test_a_ratio_is_of_the_other_folds_and_nested(tmp_path: Path) -> None:
    listing = list_source(embedded(tmp_path))
    domain = load(listing, tmp_path / "cache", memory_limit_bytes=10**8)
    train = divide(domain, listing.source, Division(folds=2, fold=1, seed=4)).train
    units: tuple[RatioUnit, ...] = ("patch", "patient")
    for unit in units:
        kept = [
            set(stratified_subset(train.labels, train.groups, ratio, unit, seed=1)) for ratio in (0.3, 0.6, 1)
        ]
        assert kept[0] < kept[1] < kept[2] == set(range(len(train)))
