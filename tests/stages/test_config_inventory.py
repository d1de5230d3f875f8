"""The inventory of the configuration: every key has a role, and its role is true."""

from __future__ import annotations

import re
from dataclasses import fields, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from datamodules.listing import list_source
from stages.build import build_recipe
from stages.config import Config, source_of
from stages.parameters import execution, parameters, recipe
from stages.recipe import Distortions
from stages.source import Source
from tests.helpers.stage_helpers import composed, plan_of, request, with_value

# A new key is entered here by hand: does it change the result (recipe), or not?
GOLDEN = {
    "recipe": """
        stage.name
        stage.source.kind
        stage.source.generator
        stage.source.classes
        stage.source.train_images
        stage.source.val_images
        stage.source.size
        stage.source.seed
        stage.source.split
        stage.source.val_fraction
        stage.source.split_seed
        stage.source.decode_size
        stage.source.window
        stage.source.color
        stage.source.augment
        stage.source.rotation
        stage.source.crop
        stage.source.brightness
        stage.source.contrast
        stage.source.noise
        stage.source.intensity_unit
        data.domains.*.kind
        data.domains.*.generator
        data.domains.*.classes
        data.domains.*.train_images
        data.domains.*.val_images
        data.domains.*.size
        data.domains.*.seed
        data.domains.*.split
        data.domains.*.val_fraction
        data.domains.*.split_seed
        data.domains.*.decode_size
        data.domains.*.window
        data.domains.*.color
        data.domains.*.augment
        data.domains.*.rotation
        data.domains.*.crop
        data.domains.*.brightness
        data.domains.*.contrast
        data.domains.*.noise
        data.domains.*.intensity_unit
        data.image_size
        data.mean
        data.std
        data.augment
        data.rotation
        data.crop
        data.brightness
        data.contrast
        data.noise
        data.intensity_unit
        model.name
        model.architecture
        model.dropout
        model.initialisation
        model.width
        transfer.name
        transfer.reinitialise
        transfer.freeze
        optim.lr_scratch
        optim.lr_transfer
        optim.name
        optim.schedule
        optim.step_factor
        optim.step_patience
        optim.momentum
        optim.weight_decay
        optim.batch_size
        optim.accumulate
        optim.warmup_steps
        optim.label_smoothing
        optim.layer_decay
        optim.unfreeze_epochs
        optim.class_weights
        optim.sampling
        optim.ema_decay
        optim.gradient_clip_scratch
        optim.gradient_clip_transfer
        trainer.precision
        trainer.memory_format
        trainer.compile
        trainer.accelerator
        trainer.threads
        callbacks.plateau.min_delta
        callbacks.plateau.patience
        callbacks.plateau.length
        callbacks.plateau.smoothing
        callbacks.plateau.max_epochs
        callbacks.plateau.start_from_epoch
        seed
        source_seed
        data_ratio
        ratio_unit
        folds
        fold
        test_fraction
        init_from
        stage.weights
        job.given
    """,
    "execution": """
        stage.domain
        stage.model
        stage.source.root
        stage.source.manifest
        stage.source.groups
        process.chain
        process.transfer
        process.between
        data.domains.*.root
        data.domains.*.manifest
        data.domains.*.groups
        data.memory_limit_gb
        data.workers
        trainer.devices
        trainer.checkpoint_seconds
        trainer.keep_last
        paths.runs_dir
        paths.data_dir
        paths.cache_dir
        paths.lock
        job.chain
        job.parent
        job.id
        job.index
        job.count
        job.images_after
        plan
    """,
    "reporting": """
        process.name
        stage.license
        job.license
        process.title
        data.name
        callbacks.progress
        logger.wandb
        logger.project
        logger.entity
        logger.study
    """,
}


def golden() -> dict[str, str]:
    return {key: role for role, keys in GOLDEN.items() for key in keys.split()}


def test_every_key_has_its_role() -> None:
    assert roles(Config) == golden()


def roles(declared: type) -> dict[str, str | None]:
    return {key: found and found.role for key, found in parameters(declared).items()}


def test_a_key_without_a_role_is_found() -> None:
    """What `parameters` says of nested classes, dicts of them and a forgotten role."""
    inner = make_dataclass("inner", [("b", int), ("a", int, recipe("A."))])
    outer = make_dataclass(
        "outer",
        [("one", inner | None), ("many", dict[str, inner]), ("values", list[float], execution("Some."))],  # type: ignore[valid-type]
    )
    assert roles(outer) == {
        "one.a": "recipe", "one.b": None, "many.*.a": "recipe", "many.*.b": None, "values": "execution",
    }  # fmt: skip


# --- which keys move the id --------------------------------------------------------------------------------

# Recipe keys that build_recipe does not read, and who does; the augmentation has tests of its own.
THROUGH_THE_DIGEST = {key for key in golden() if re.match(r"(stage\.source|data\.domains\.\*)\.", key)}
THROUGH_THE_PLAN = {"source_seed"}  # it becomes the sources' seed
OF_A_GIVEN_STAGE = {"stage.weights", "stage.license", "stage.model"}  # of one that is not trained
# Recipe keys that change nothing in a run of one kind.
TRANSFER = {
    "transfer.name", "transfer.reinitialise", "transfer.freeze", "optim.lr_transfer",
    "optim.gradient_clip_transfer", "optim.layer_decay", "optim.unfreeze_epochs",
}  # fmt: skip
STEP = {"optim.step_factor", "optim.step_patience"}  # test_schedule.py shows that they do with schedule=step
WITHOUT_EFFECT = {
    "scratch": {*TRANSFER, *STEP},
    "transferred": {"optim.lr_scratch", "optim.gradient_clip_scratch", *STEP},
    "scratch, all data": {*TRANSFER, *STEP, "ratio_unit"},
}
KINDS: dict[str, tuple[str | None, float]] = {
    "scratch": (None, 0.5),
    "transferred": ("a" * 64, 0.5),
    "scratch, all data": (None, 1.0),
}
SPECIAL: dict[str, Any] = {
    "data.mean": (0.1, 0.2, 0.3), "data.std": (0.1, 0.2, 0.3), "data.augment": "flip",
    "data.rotation": (-5.0, 10.0), "data.crop": (0.5, 0.9), "data.brightness": 3.0, "data.contrast": 0.2,
    "data.noise": 4.0, "data.intensity_unit": "grey", "optim.ema_decay": 0.99,
    "ratio_unit": "patient", "test_fraction": 0.3, "model.initialisation": "caffe",
    "trainer.precision": "bf16-mixed", "trainer.memory_format": "channels_last", "trainer.accelerator": "gpu",
    "logger.wandb": "online", "paths.lock": "soft",
    "optim.name": "adamw", "optim.schedule": "cosine", "optim.step_patience": 1,
    "optim.class_weights": "balanced", "optim.sampling": "balanced",
    "optim.gradient_clip_scratch": 0.7, "optim.gradient_clip_transfer": 0.7, "trainer.threads": 3,
    "logger.entity": "lab", "model.architecture": "resnet18", "source_seed": 5,
    "stage.domain": "texture", "process.chain": ("natural",), "process.transfer": "finetune",
    "process.between": "conv_only", "transfer.reinitialise": ("fc8",), "transfer.freeze": ("conv1",),
    "job.chain": ("natural", "dld"), "job.parent": "c" * 64, "job.id": "d" * 64,
    "job.given": "radimagenet", "job.license": "MIT",
}  # fmt: skip


def mutated(config: Config, key: str) -> Config:
    """The configuration with one leaf at another value of its type."""
    key = key.replace("*", "dld")
    before: Any = config
    for part in key.split("."):
        before = before[part] if isinstance(before, dict) else getattr(before, part)
    if key in SPECIAL:
        after = SPECIAL[key]
    elif isinstance(before, bool):
        after = not before
    elif isinstance(before, int):
        after = before + 1
    elif isinstance(before, float):
        after = before / 2 or 0.5
    else:
        assert isinstance(before, str), f"{key} is {before!r}: say in SPECIAL what else it can be"
        after = f"{before}x"
    assert after != before
    return with_value(config, key, after)  # type: ignore[no-any-return]


def base(kind: str) -> tuple[Config, str | None]:
    parent, ratio = KINDS[kind]
    given = ("data.mean=[0.5,0.5,0.5]", "data.std=[0.5,0.5,0.5]", "data.brightness=9")  # which has a unit
    config = composed(
        "+stage=dld", "process=two_stage", f"data_ratio={ratio}", "seed=4", "folds=5", "fold=2", *given
    )
    return with_value(config, "stage.source", config.data.domains["dld"]), parent


def recipe_id(config: Config, parent: str | None) -> str:
    return build_recipe(config, data_digest="b" * 64, parent=parent).id


BUILT = sorted(golden().keys() - THROUGH_THE_DIGEST - OF_A_GIVEN_STAGE - {"init_from"})


@pytest.mark.parametrize("kind", KINDS)
def test_recipe_keys_move_the_id_and_others_never_do(kind: str) -> None:
    config, parent = base(kind)
    before = recipe_id(config, parent)
    moved = {key for key in BUILT if recipe_id(mutated(config, key), parent) != before}
    recipe_keys = {key for key in BUILT if golden()[key] == "recipe"}
    assert moved == recipe_keys - THROUGH_THE_PLAN - WITHOUT_EFFECT[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_all_other_keys_at_once_do_not_move_the_id(kind: str) -> None:
    config, parent = base(kind)
    changed = config
    for key in BUILT:
        if golden()[key] != "recipe":
            changed = mutated(changed, key)
    assert recipe_id(changed, parent) == recipe_id(config, parent)


def test_init_from_enters_by_content(tmp_path: Path) -> None:
    config, _ = base("scratch")
    ids = [recipe_id(config, None)]
    for name, content in (("a.pth", b"1"), ("b.pth", b"2")):
        (tmp_path / name).write_bytes(content)
        config = replace(config, init_from=str(tmp_path / name))
        ids.append(recipe_id(config, None))
    assert len(set(ids)) == 3
    (tmp_path / "copy.pth").write_bytes(b"2")
    config = replace(config, init_from=str(tmp_path / "copy.pth"))
    assert recipe_id(config, None) == ids[-1], "the path does not count"
    (tmp_path / "copy.pth").write_bytes(b"333")
    assert recipe_id(config, None) not in ids, "read again when it has changed"
    built = build_recipe(config, data_digest="b" * 64, parent=None)
    assert built.init_from == "556d7dc3a115356350f1f9910b1af1ab0e312d4b3e4fc788d2da63668f36d017"
    assert (built.transfer, built.optim.lr) == ("feature", config.optim.lr_transfer)


def test_source_seed_moves_the_sources_and_what_comes_of_them() -> None:
    runs = {seed: plan_of(request("natural", "dld", source_seed=seed)).runs for seed in (None, 0, 1)}
    assert set(runs[None]) == set(runs[0]), "null is the target's seed"
    assert set(runs[0]).isdisjoint(runs[1])


@pytest.mark.parametrize("part", ["stage.source", "data.domains.*"])
@pytest.mark.parametrize(
    "leaf", ["classes", "train_images", "val_images", "size", "seed", "generator", "window"]
)
def test_generated_images_move_the_id_through_their_digest(part: str, leaf: str) -> None:
    config = composed("+stage=natural")
    source = config.data.domains["natural"]
    if part == "stage.source":
        config = with_value(config, "stage.source", source)
    before = list_source(source_of(config)).digest
    value = {"generator": "texture", "classes": 9, "window": (-500.0, 100.0)}.get(leaf)
    changed = getattr(source, leaf) + 1 if value is None else value
    config = with_value(config, f"{part}.{leaf}".replace("*", "natural"), changed)
    assert golden()[f"{part}.{leaf}"] == "recipe"
    assert list_source(source_of(config)).digest != before


@pytest.mark.parametrize("part", ["stage.source", "data.domains.natural"])
def test_a_domains_own_augmentation_takes_the_place_of_that_of_all(part: str) -> None:
    config = with_value(composed("+stage=natural"), "data.augment", "none")
    config = with_value(config, "data.domains.natural.augment", None)
    if part == "stage.source":
        config = with_value(config, part, config.data.domains["natural"])
    own = with_value(config, f"{part}.augment", "flip")

    def augment(config: Config) -> str:
        return build_recipe(config, data_digest="b" * 64, parent=None).data.augment

    assert (augment(config), augment(own)) == ("none", "flip")
    assert augment(with_value(own, "data.augment", "dihedral")) == "flip"
    assert list_source(source_of(own)).digest == list_source(source_of(config)).digest, "the same images"


OWN = {
    "rotation": (-5.0, 5.0), "crop": (0.5, 1.0), "brightness": 3.0, "contrast": 0.1, "noise": 2.0,
    "intensity_unit": "HU",
}  # fmt: skip
NOTHING = {"rotation": (0.0, 0.0), "crop": (1.0, 1.0), "brightness": 0.0, "contrast": 0.0, "noise": 0.0}


@pytest.mark.parametrize("name", OWN)
def test_a_domain_has_its_own_of_what_is_drawn_and_nothing_is_none(name: str) -> None:
    plain = composed("+stage=natural", "data.brightness=1")
    own = with_value(plain, f"data.domains.natural.{name}", OWN[name])
    built = build_recipe(own, data_digest="b" * 64, parent=None).data
    assert (
        getattr(built, name)
        == OWN[name]
        != getattr(build_recipe(plain, data_digest="b", parent=None).data, name)
    )
    if name in NOTHING:
        off = with_value(
            with_value(plain, f"data.{name}", OWN[name]), f"data.domains.natural.{name}", NOTHING[name]
        )
        without = with_value(plain, f"data.{name}", None)
        assert recipe_id(off, None) == recipe_id(without, None), "turned off is not asked for"
    assert list_source(source_of(own)).digest == list_source(source_of(plain)).digest, "the same images"


FILES = {"decode_size": 8, "color": "rgb", "window": [0.0, 99.0], "val_fraction": 0.5, "split_seed": 1}


def folder_of_images(root: Path) -> Path:
    """Files whose content nobody reads for an identity."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(12):
            (root / name / f"{number}.png").write_bytes(b"x" * (number + 1))
    return root


@pytest.mark.parametrize("leaf", FILES)
def test_files_move_the_id_through_their_digest(tmp_path: Path, leaf: str) -> None:
    source = Source(kind="folder", root=str(folder_of_images(tmp_path)), val_fraction=0.25, split_seed=0)
    before = list_source(source).digest
    assert list_source(with_value(source, leaf, FILES[leaf])).digest != before
    assert golden()[f"stage.source.{leaf}"] == golden()[f"data.domains.*.{leaf}"] == "recipe"


def test_where_the_files_lie_does_not_count(tmp_path: Path) -> None:
    digests = {
        list_source(
            Source(kind="folder", root=str(folder_of_images(tmp_path / name)), val_fraction=0.25)
        ).digest
        for name in ("here", "elsewhere")
    }
    assert len(digests) == 1
    assert golden()["data.domains.*.root"] == golden()["data.domains.*.manifest"] == "execution"


def test_every_source_key_was_tried() -> None:
    tried = {"classes", "train_images", "val_images", "size", "seed", "generator", "window", *FILES}
    named = {"kind", "root", "manifest", "groups", "split", "augment"}
    named |= {entry.name for entry in fields(Distortions)}
    assert {field.name for field in fields(Source)} == tried | named
