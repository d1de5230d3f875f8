"""What the tests of stages and of the sweeper share: composing, a recipe, a record, a plan's ingredients."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import hydra_plugins.relay_sweeper  # noqa: F401  # stores the schema where Hydra finds it
from lightning_modules.resolve import resolve
from stages.config import Config, to_config
from stages.plan import Plan, StageRun
from stages.planner import build_plan
from stages.plateau import PlateauRule
from stages.processes import Process
from stages.recipe import RECIPE_VERSION, Arithmetic, Data, Model, Recipe, TransferLayers
from stages.record import RECORD_SCHEMA, Record
from stages.request import Request
from stages.source import Source
from stages.store import RunFolder, Store
from tests.helpers.plain_optim import PLAIN
from tests.helpers.store_files import attempt

PROJECT = Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf"


def compose_dict(*overrides: str, hydra_too: bool = False) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=hydra_too)


@cache
def _composed(overrides: tuple[str, ...]) -> Config:
    return to_config(compose_dict(*overrides))


def composed(*overrides: str) -> Config:
    """A typed configuration with its arithmetic resolved."""
    return _composed(
        (
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            "trainer.memory_format=contiguous",
            *overrides,
        )
    )


def with_value(group: Any, key: str, value: Any) -> Any:
    """A group, or a dict of groups, with another value at a dotted key."""
    name, _, rest = key.partition(".")
    if isinstance(group, dict):
        return {**group, name: with_value(group[name], rest, value)}
    return replace(group, **{name: with_value(getattr(group, name), rest, value) if rest else value})


def manifest_config(root: Path, cache_dir: Path) -> Config:
    """The target's configuration where its images are those of `root/manifest.csv`."""
    unset = ("generator", "classes", "train_images", "val_images", "size", "seed")
    config = composed(
        *("+stage=dld", "data.domains.dld.kind=manifest", "data.domains.dld.manifest=manifest.csv"),
        *("data.domains.dld.root=elsewhere", *(f"data.domains.dld.{key}=null" for key in unset)),
    )
    config = with_value(config, "data.domains.dld.root", str(root))
    return with_value(config, "paths.cache_dir", str(cache_dir))


def recipe(**changes: Any) -> Recipe:
    """A recipe of a second stage."""
    values: dict[str, Any] = {
        "version": RECIPE_VERSION,
        "stage": "dld",
        "parent": "a" * 64,
        "init_from": None,
        "given": None,
        "transfer": "feature",
        "seed": 3,
        "test_fraction": None,
        "model": Model(name="alexnet", dropout=0.5, initialisation="lecun_normal", width=1.0),
        "optim": replace(PLAIN, lr=0.0005, momentum=0.9, warmup_steps=20),
        "data": Data(
            digest="b" * 64,
            image_size=64,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            augment="none",
            ratio=0.2,
            ratio_unit="patch",
        ),
        "arithmetic": Arithmetic(precision="32-true", memory_format="contiguous", compile=False, threads=2),
        "plateau": PlateauRule(
            min_delta=0.05, patience=2, length=4, smoothing=2, max_epochs=16, start_from_epoch=0
        ),
        "folds": None,
        "fold": None,
    }
    values |= changes
    layers = None if values["transfer"] is None else TransferLayers(reinitialise=("fc7", "fc8"), freeze=())
    values.setdefault("transfer_layers", layers)
    return Recipe(**values)


VALUES: dict[str, Any] = {
    "images": 10, "of": 10, "low": -1024.0, "high": 200.0, "black": -1000.0, "white": 400.0, "used": 0.857,
    "below": 0.01, "above": 0.0, "air": 0.25, "dense": 0.0, "eight_bit": 0.0, "constant": 0.0,
    "identical": False, "levels": 200, "grey": None, "grey_by_class": None, "reduced": 0.0,
    "sides_overlap": 0.9, "class_overlap": 0.5, "class_apart": 0,
}  # fmt: skip
"""What a record says of the values of ten images of Hounsfield units."""


def process(
    name: str, title: str, chain: tuple[str, ...], transfer: str | None = None, between: str | None = None
) -> Process:
    return Process(name=name, title=title, chain=chain, transfer=transfer, between=between)


def record_content(of: Recipe, chain: Sequence[str] = ("natural", "dld")) -> dict[str, Any]:
    """A valid record as JSON data."""
    metric = {"p75": 0.75, "p50": 0.5, "p25": 0.25, "mean": 0.55, "last": 0.7, "best": 0.8}
    return {
        "schema_version": RECORD_SCHEMA,
        "id": of.id,
        "stage": of.stage,
        "chain": list(chain),
        "transfer": {
            "rule": of.transfer or "none",
            "source": None,
            "kept": [],
            "reinitialised": ["fc8.weight"],
            "frozen": [],
            "ignored": [],
            "names": "",
            "dropped": [],
            "kept_buffers": [],
            "reinitialised_buffers": [],
            "rounded": [],
        },
        "parent": of.parent,
        "parent_weights": None if of.parent is None else "f" * 64,
        "starting_point": "scratch" if of.parent is None else "parent",
        "given": None,
        "seed": of.seed,
        "data_ratio": of.data.ratio,
        "ratio_unit": of.data.ratio_unit,
        "folds": of.folds,
        "fold": of.fold,
        "data": {
            "digest": of.data.digest,
            "content": None,
            "height": 32,
            "width": 32,
            "image_size": of.data.image_size,
            "classes": ["CON", "GGO"],
            "train_counts": [3, 4],
            "val_counts": [1, 2],
            "train_groups": 5,
            "val_groups": 2,
            "test_counts": None,
            "test_groups": None,
            "grouped": True,
            "train_class_groups": [3, 3],
            "val_class_groups": [1, 2],
            "histogram_accuracy": None,
            "crossing_groups": 0,
            "crossing_pictures": 0,
            "notes": [],
            "values": VALUES,
        },
        "input": {
            "mean": [0.4, 0.4, 0.4],
            "std": [0.2, 0.2, 0.2],
            "color": False,
            "window": [-1000.0, 400.0],
            "decode_size": None,
            "precision": "32-true",
            "memory_format": "contiguous",
            "acquisition": {"spacing_mm": [0.6, 0.7, 0.8], "thickness_mm": None, "kernels": {"B70f": 2}},
        },
        "parameters": 10,
        "epochs": 7,
        "plateau": {"onset": 3, "length": 4, "reached": True, "learning": True},
        "metrics": {"accuracy": metric, "f1_score_macro": metric},
        "confusion_matrix": [[1, 0], [1, 1]],
        "cost": {
            "seconds": 10.0,
            "train_seconds": 8.0,
            "images_per_second": 100.0,
            "peak_memory_bytes": 1024,
        },
        "attempts": [attempt()],
        "origin": {
            "versions": {"python": "3.11"},
            "git_commit": None,
            "git_dirty": None,
            "machine": {"host": "somewhere"},
            "finished": "2025-01-01T00:00:00+00:00",
        },
        "files": {},
    }


def seal(folder: RunFolder, content: dict[str, Any] | None = None) -> None:
    """Write a run's record, as it is or with other content, with the digests of its files as they are now."""
    content = dict(json.loads(folder.record.read_text()) if content is None else content)
    content.pop("seal", None)
    folder.record.write_text(Record.model_validate(content | {"files": folder.digests({})}).to_json())


def complete(store: Store, run: StageRun) -> None:
    """Write the record with which a stage run is complete."""
    folder = store.folder(run.stage, run.id)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.record.write_text(Record.model_validate(record_content(run.recipe, run.chain)).to_json())


@dataclass(frozen=True)
class FakeIdentity:
    """A domain's identity without a reader: its generator's parameters are its name."""

    digest: str
    train_images: int = 100
    val_images: int = 20
    test_images: int = 0
    provided: bool = False


def fake_identify(source: Source) -> FakeIdentity:
    return FakeIdentity(sha256(repr(source).encode()).hexdigest())


def compose_stage(stage: str, overrides: tuple[str, ...]) -> Config:
    return composed(*overrides, f"+stage={stage}")


def request(
    *chain: str,
    rule: str | None = None,
    seed: int = 0,
    source_seed: int | None = None,
    ratio: float = 1.0,
    overrides: tuple[str, ...] = (),
    between: str | None = None,
) -> Request:
    return Request(
        chain=chain,
        rule=rule,
        between=between,
        overrides=overrides,
        seed=seed,
        source_seed=source_seed,
        data_ratio=ratio,
    )


def plan_of(
    *requests: Request, compose_with: Callable[[str, tuple[str, ...]], Config] = compose_stage
) -> Plan:
    return build_plan(requests, compose_with, fake_identify, resolve)


def by_chain(plan: Plan) -> dict[tuple[str, ...], StageRun]:
    """A plan's runs by their chain, where that is unique."""
    runs = {run.chain: run for run in plan.runs.values()}
    assert len(runs) == len(plan.runs)
    return runs
