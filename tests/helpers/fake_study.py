"""A study that nobody trained: the files of real stage runs, with numbers drawn from a generator.

Every folder has what a finished run leaves and the report reads: recipe.yaml, history.csv,
predictions.parquet and a record.json that is valid by `stages.record.Record` and agrees with the other
three. Weights and config.yaml are left out. 200 runs take a few seconds.

What is true of new seeds and new patients is known: `FakeStudy.truth`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from datamodules.splits import group_folds
from stages.metrics import metric_of
from stages.plateau import PlateauRule
from stages.processes import Process, load_processes
from stages.recipe import RECIPE_VERSION, Arithmetic, ClassWeights, Data, Model, Recipe, TransferLayers
from stages.record import RECORD_SCHEMA, Record
from stages.store import RunFolder, Store, recipe_document
from tests.helpers.fake_outcomes import Floats, Ints, Outcomes, SharedEffects, Spread
from tests.helpers.plain_optim import PLAIN
from tests.helpers.store_files import attempt

EvaluationSet = tuple[Ints, list[str], list[str]]
"""Labels, groups and samples."""

PAPER = ("scratch", "texture", "natural", "two_stage", "finetune_natural", "finetune_texture")
RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)
_LAYERS = TransferLayers(reinitialise=("fc7", "fc8"), freeze=())
CLASSES = ("CON", "GGO", "HCM", "RET", "EMP", "NOD", "NOR")

# Accuracy with all images and what is lost at none, by process: about the paper's Tables 1 and 2.
_QUALITY = {
    "scratch": (0.905, 0.20),
    "texture": (0.890, 0.14),
    "natural": (0.925, 0.12),
    "two_stage": (0.945, 0.08),
    "finetune_natural": (0.770, 0.10),
    "finetune_texture": (0.820, 0.09),
}


@dataclass(frozen=True)
class FakeStudy:
    """What is in a fake study; `write` fills a store with it.

    `samples` of `patients` are the evaluation set, unequal in their classes as the paper's are, unless an
    `evaluation` set is given; with `folds`, each run has one fold of it. `quality` is the true accuracy with
    all images, and what is lost at none, by process; `draw` another study of the same truth. `change` is
    called with each target's record as JSON data before it is written; `skip` says which cells (process,
    seed, ratio) are not there. `given` holds the file's SHA-256 of each stage that is given, not trained.
    """

    processes: Sequence[str] = PAPER
    seeds: Iterable[int] = range(10)
    ratios: Sequence[float] = RATIOS
    classes: Sequence[str] = CLASSES
    samples: int = 300
    patients: int = 40
    epochs: int = 14
    folds: int | None = None
    image_size: int = 64
    width: float = 1.0
    lr_transfer: float = 0.0005
    class_weights: ClassWeights = "none"
    source_seed: int | None = None
    layers: Mapping[str, TransferLayers] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    source_digest: str = "d" * 64
    target_digest: str = "e" * 64
    evaluation: EvaluationSet | None = None
    quality: Mapping[str, tuple[float, float]] = field(default_factory=lambda: _QUALITY)
    spread: Spread = field(default_factory=Spread)
    draw: int = 0
    change: Callable[[dict[str, Any]], None] = field(default=lambda content: None)
    skip: Callable[[str, int, float], bool] = field(default=lambda process, seed, ratio: False)

    def truth(self, process: str | None, ratio: float = 1.0) -> float:
        """Accuracy of a process's networks of new seeds on new patients."""
        best, loss_of_data = self.quality.get(process or "", (0.8, 0.1))
        return best - loss_of_data * (1.0 - ratio)

    def write(self, runs_dir: Path) -> list[RunFolder]:
        """Write all stage runs, sources included; returns the targets' folders."""
        runs_dir.mkdir(parents=True, exist_ok=True)
        store, written, targets = Store(runs_dir), set[str](), []
        for name in self.processes:
            process = load_processes()[name]
            for seed in self.seeds:
                parent = self._sources(store, process, seed, written)
                for ratio, fold in product(self.ratios, [None] if self.folds is None else range(self.folds)):
                    if not self.skip(name, seed, ratio):
                        recipe = self._recipe(process, len(process.chain) - 1, seed, ratio, parent, fold)
                        targets.append(self._write_run(store, recipe, process.chain, name))
        return targets

    def _sources(self, store: Store, process: Process, seed: int, written: set[str]) -> str | None:
        parent: str | None = None
        source_seed = seed if self.source_seed is None else self.source_seed
        for position in range(process.chain[0] in self.given, len(process.chain) - 1):
            recipe = self._recipe(process, position, source_seed, 1.0, parent)
            parent = recipe.id
            if recipe.id not in written:
                self._write_run(store, recipe, process.chain[: position + 1], None)
                written.add(recipe.id)
        return parent

    def _recipe(
        self,
        process: Process,
        position: int,
        seed: int,
        ratio: float,
        parent: str | None,
        fold: int | None = None,
    ) -> Recipe:
        target = position == len(process.chain) - 1
        rule = (process.transfer if target else process.between) or "feature"
        given = process.chain[0] if position == 1 and process.chain[0] in self.given else None
        scratch = parent is None and given is None
        return Recipe(
            version=RECIPE_VERSION,
            stage=process.chain[position],
            parent=parent,
            init_from=self.given[given] if given else None,
            given=given,
            transfer=None if scratch else rule,
            transfer_layers=None if scratch else self.layers.get(rule, _LAYERS),
            seed=seed,
            test_fraction=None,
            model=Model(name="alexnet", dropout=0.5, initialisation="lecun_normal", width=self.width),
            optim=replace(
                PLAIN,
                lr=0.05 if scratch else self.lr_transfer,
                momentum=0.9,
                batch_size=256,
                class_weights=self.class_weights if target else "none",
                gradient_clip=1.0 if scratch else None,
            ),
            data=Data(
                digest=self.target_digest if target else self.source_digest,
                image_size=self.image_size,
                mean=None,
                std=None,
                augment="none",
                ratio=ratio,
                ratio_unit="patch",
            ),
            arithmetic=Arithmetic(precision="32-true", memory_format="contiguous", compile=False, threads=2),
            plateau=PlateauRule(
                min_delta=0.01,
                patience=3,
                length=5,
                smoothing=2,
                max_epochs=self.epochs + 6,
                start_from_epoch=0,
            ),
            folds=None if fold is None else self.folds,
            fold=fold,
        )

    def _write_run(
        self, store: Store, recipe: Recipe, chain: Sequence[str], process: str | None
    ) -> RunFolder:
        folder = store.folder(recipe.stage, recipe.id)
        folder.path.mkdir(parents=True, exist_ok=True)
        document = yaml.dump(recipe_document(recipe), Dumper=yaml.CSafeDumper, sort_keys=False)
        folder.recipe.write_text(document)
        generator = np.random.default_rng([int(recipe.id[:12], 16), self.draw])
        labels, groups, samples = self._evaluation_set()
        rows = self._evaluated_by(recipe, labels, groups)
        baseline, of_rows = _baseline(labels, len(self.classes)), {groups[row] for row in rows}
        outcomes = Outcomes.drawn(
            generator,
            accuracy=self.truth(process, recipe.data.ratio),
            spread=self.spread,
            shared=SharedEffects(self.draw, process or "", groups, rows),
            labels=labels[rows],
            classes=len(self.classes),
            epochs=recipe.plateau.length,
        )
        matrix = outcomes.matrices[-1]
        history = outcomes.history(generator, self.epochs + int(generator.integers(0, 5)))
        _write_history(folder.history, history)
        if process is not None:  # of sources the report reads the record and the recipe only
            groups, samples = ([names[row] for row in rows] for names in (groups, samples))
            _write_predictions(
                folder.predictions, labels[rows], groups, samples, outcomes, self.classes, baseline[rows]
            )
            write_sample_sheet(folder.sample_sheet, len(self.classes))
        content = self._record(recipe, chain, matrix, history)
        content["data"] |= {
            "val_groups": len(of_rows),
            "histogram_accuracy": float(np.mean(baseline[rows] == labels[rows])),
        }
        if process is not None:
            self.change(content)
        content["files"] = folder.digests({})
        folder.record.write_text(Record.model_validate(content).to_json())
        return folder

    @staticmethod
    def _evaluated_by(recipe: Recipe, labels: Ints, groups: list[str]) -> Ints:
        """The rows of the evaluation set that a run evaluates: all, or a fold of them."""
        if recipe.folds is None:
            return np.arange(len(labels))
        return np.flatnonzero(group_folds(labels, groups, recipe.folds, recipe.seed) == recipe.fold)

    def _evaluation_set(self) -> EvaluationSet:
        if self.evaluation is not None:
            return self.evaluation
        shares = 1.0 / np.arange(2, len(self.classes) + 2)
        labels = np.sort(np.arange(self.samples) % len(self.classes))
        free = self.samples - len(self.classes) * 3  # at least three images a class
        if free > 0:
            counts = 3 + np.floor(free * shares / shares.sum()).astype(np.int64)
            counts[0] += self.samples - counts.sum()
            labels = np.repeat(np.arange(len(self.classes)), counts)
        groups = [f"PATIENT-{index * 7 % self.patients:04d}^DOE" for index in range(self.samples)]
        samples = [f"{group}/slice-{index}.png" for index, group in enumerate(groups)]
        return labels.astype(np.int64), groups, samples

    def _record(
        self, recipe: Recipe, chain: Sequence[str], matrix: Ints, history: dict[str, Floats]
    ) -> dict[str, Any]:
        epochs, length = len(history["accuracy"]), recipe.plateau.length
        counts = [max(1, round(100 * recipe.data.ratio / (index + 1))) for index in range(len(self.classes))]
        return {
            "schema_version": RECORD_SCHEMA,
            "id": recipe.id,
            "stage": recipe.stage,
            "chain": list(chain),
            "transfer": {
                "rule": recipe.transfer or "none",
                "source": recipe.parent,
                "kept": [] if recipe.parent is None else ["conv1.weight", "fc6.weight"],
                "reinitialised": ["fc7.weight", "fc8.weight"],
                "frozen": [],
                "ignored": [],
                "names": "",
                "dropped": [],
                "kept_buffers": [],
                "reinitialised_buffers": [],
                "rounded": [],
            },
            "parent": recipe.parent,
            "parent_weights": None if recipe.parent is None else "f" * 64,
            "starting_point": "parent" if recipe.parent else "init_from" if recipe.init_from else "scratch",
            "given": recipe.init_from
            and {"name": recipe.given, "sha256": recipe.init_from, "license": "CC BY-NC 4.0"},
            "seed": recipe.seed,
            "data_ratio": recipe.data.ratio,
            "ratio_unit": recipe.data.ratio_unit,
            "folds": recipe.folds,
            "fold": recipe.fold,
            "data": {
                "digest": recipe.data.digest,
                "height": 32,
                "width": 32,
                "image_size": recipe.data.image_size,
                "classes": list(self.classes),
                "train_counts": counts,
                "val_counts": matrix.sum(axis=1).tolist(),
                "train_groups": max(1, sum(counts) // 3),
                "test_counts": None,
                "test_groups": None,
                "grouped": True,
                "train_class_groups": [max(1, count // 3) for count in counts],
                "val_class_groups": [max(1, count // 2) for count in matrix.sum(axis=1).tolist()],
                "crossing_groups": 0,
                "crossing_pictures": 0,
            },
            "parameters": 56_909_194,
            "epochs": epochs,
            "plateau": {"onset": epochs - length, "length": length, "reached": True, "learning": True},
            "metrics": {name: _summary(name, values[-length:]) for name, values in history.items()},
            "confusion_matrix": matrix.tolist(),
            "cost": {
                "seconds": 120.0,
                "train_seconds": 100.0,
                "images_per_second": 66.0,
                "peak_memory_bytes": 2_236_698_624,
            },
            "attempts": [attempt(seconds=120.0, epochs=epochs)],
            "origin": {
                "versions": {"python": "3.11.7", "torch": "2.14.1", "numpy": "2.4.6"},
                "git_commit": "c" * 40,
                "git_dirty": False,
                "machine": {"host": "node1", "system": "Linux 6.18", "device": "cpu", "cores": "2"},
                "finished": "2026-11-23T08:59:00+00:00",
            },
            "files": {},
        }


def _summary(name: str, values: Floats) -> dict[str, float]:
    p25, p50, p75 = (float(value) for value in np.percentile(values, (25, 50, 75)))
    best = metric_of(name).best(values.tolist())
    return {
        "p75": p75,
        "p50": p50,
        "p25": p25,
        "mean": float(values.mean()),
        "last": float(values[-1]),
        "best": float(best),
    }


def _write_history(path: Path, history: dict[str, Floats]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *history])
    columns = [values.tolist() for values in history.values()]
    writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*columns, strict=True)))
    path.write_text(text.getvalue())


def _baseline(labels: Ints, classes: int) -> Ints:
    """What the histogram baseline predicts, the same for every run: right for 41 of 100 images."""
    right = np.arange(len(labels)) * 37 % 100 < 41
    return np.where(right, labels, (labels + 1) % classes)


def write_sample_sheet(path: Path, classes: int) -> None:
    """A sheet of six grey images for each class, as `datamodules.batches` makes it."""
    cells = np.random.default_rng(0).integers(0, 256, (classes, 6), dtype=np.uint8)
    pixels = np.full((classes * 50 - 2, 298), 255, dtype=np.uint8)
    for (row, column), grey in np.ndenumerate(cells):
        pixels[row * 50 : row * 50 + 48, column * 50 : column * 50 + 48] = grey
    Image.fromarray(pixels).save(path, "JPEG")


def _write_predictions(
    path: Path,
    labels: Ints,
    groups: list[str],
    samples: list[str],
    outcomes: Outcomes,
    classes: Sequence[str],
    histogram: Ints,
) -> None:
    columns: dict[str, pa.Array] = {
        "sample": pa.array(samples, pa.string()),
        "group": pa.array(groups, pa.string()),
        "label": pa.array(labels, pa.int64()),
        "histogram": pa.array(histogram, pa.int64()),
    }
    for position, name in enumerate(classes):
        columns[f"logit_{name}"] = pa.array(outcomes.logits[:, position], pa.float32())
    for epoch in range(outcomes.by_epoch.shape[1]):
        columns[f"predicted_{epoch}"] = pa.array(outcomes.by_epoch[:, epoch], pa.int64())
    pq.write_table(pa.table(columns), path)
