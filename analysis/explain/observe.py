"""Looking at all networks of a study: maps, their checks, frequency responses, likeness of layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.explain.arrays import Arrays
from analysis.explain.frequency import Precision
from analysis.explain.observation_tables import (
    agreement_table,
    between_processes,
    evenly_spread,
    layer_likeness,
    mean_curves,
    mean_table,
    normalised_maps,
    randomisation_table,
    relative_heat,
    small,
)
from analysis.explain.observations import LAYERS, Floats, Observations, Shown
from analysis.explain.observer import Images, Observer
from analysis.explain.reference_images import Directions, Norm
from analysis.explain.response_curves import smoothed
from analysis.explain.reverses import Rule
from analysis.explain.sample_choice import choose_samples, true_class_probability
from analysis.explain.target_images import TargetImages
from analysis.runs.selection import process_order, whole_set_rows
from analysis.runs.study import Study
from stages.errors import RelayError
from stages.recipe import short_id
from stages.store import RunFolder

OnProgress = Callable[[str, int, int], None]
"""What is being done, how much of it, of how much."""


@dataclass(frozen=True)
class Look:
    """What is asked of a study's networks.

    Attributes:
        layer: whose features are mapped back.
        rule: of the backward path.
        norm: of the reference images.
        directions: of the reference images.
        count: of directions.
        precision: of the frequency response; None takes each run's own.
        checked: images of each class that the checks of maps take.
        compared: images that the likeness of layers takes.
        tiles: along a side, for insertion and deletion.
        steps: of the insertion and deletion curves.
        window: frequencies in the filter of Figure 10, odd and at least 3.
    """

    layer: str = "pool5"
    rule: Rule = "desalinet"
    norm: Norm = "paper"
    directions: Directions = "grid"
    count: int = 180
    precision: Precision | None = None
    checked: int = 4
    compared: int = 256
    tiles: int = 14
    steps: int = 14
    window: int = 11


@dataclass(frozen=True)
class _Looked:
    """One target run: its place in the study and its network."""

    process: str
    seed: int
    observer: Observer
    precision: Precision


def observe(
    study: Study,
    runs: pd.DataFrame,
    targets: TargetImages,
    look: Look,
    own: tuple[Tensor, Tensor] | None,
    on_progress: OnProgress,
) -> Observations:
    """Look at every network of a study that was trained on the whole training set, and at their parents.

    Args:
        study: which.
        runs: all of the store's, for the parents.
        targets: the evaluation set.
        look: what is asked.
        own: images of the user's, as the networks take them and as they are shown, or None.
        on_progress: called as work is done.

    Raises:
        RelayError: if no run can be looked at, or something asked for cannot be done.
    """
    smoothed(np.zeros(targets.size // 2 + 1), look.window)  # refuses a wrong window before the work
    looked, skipped = _targets(study, look)
    processes = process_order(run.process for run in looked)
    by_process = {name: [run for run in looked if run.process == name] for name in processes}
    shown_runs, seed = _shown_runs(by_process)
    folders = [run.observer.folder for run in looked]
    probability = true_class_probability(folders, targets.samples, targets.labels)
    picked = choose_samples(probability, targets.labels, per_class=1)
    checked = choose_samples(probability, targets.labels, per_class=look.checked)
    compared = evenly_spread(len(targets.labels), look.compared)
    check_images, compare_images = (Images(targets.images(rows.tolist())) for rows in (checked, compared))

    gains: dict[str, list[Floats]] = {name: [] for name in processes}
    random: dict[str, list[Arrays]] = {name: [] for name in processes}
    curves: dict[str, list[Arrays]] = {name: [] for name in processes}
    heats: dict[tuple[str, int], Tensor] = {}
    grams: dict[str, Arrays] = {}
    filters: dict[str, Floats] = {}
    stride = 1
    tiles = min(look.tiles, targets.size)
    for number, run in enumerate(looked, start=1):
        what = f"{run.process}, seed {run.seed}"
        on_progress(f"maps: {what}", number - 1, len(looked))
        heats[run.process, run.seed] = torch.from_numpy(run.observer.heat(check_images))
        random[run.process].append(run.observer.randomisation(check_images))
        curves[run.process].append(run.observer.deletion(check_images, tiles=tiles, steps=look.steps))
        grams[run.observer.run_id] = run.observer.grams(compare_images, list(LAYERS.values()))
        if run in shown_runs.values():
            first = run.observer.first_layer()
            filters[run.process], stride = first["filters"], int(first["stride"])
        gains[run.process].append(_response(run, targets.size, look, what, on_progress))
        run.observer.forget()
    shown = _shown(shown_runs, seed, targets, picked.tolist())
    return Observations(
        study=study.id,
        target=study.target,
        runs=[run.observer.run_id for run in looked],
        settings={
            "layer": look.layer,
            "rule": look.rule,
            "norm": look.norm,
            "directions": look.directions,
            "count": look.count,
            "window": look.window,
            "precision": sorted({run.precision for run in looked}),
        },
        facts={
            "size": targets.size,
            "native": min(targets.native_size),
            "stride": stride,
            "checked": len(checked),
            "compared": len(compared),
            "tiles": tiles,
        },
        processes=processes,
        seeds={name: [run.seed for run in by_process[name]] for name in processes},
        skipped=skipped,
        shown=shown,
        own=None if own is None else _shown_own(shown_runs, seed, targets, own),
        responses={name: np.stack(values) for name, values in gains.items()},
        randomisation=randomisation_table(random),
        curves={name: mean_curves(values) for name, values in curves.items()},
        agreement=agreement_table(heats),
        stages=_stages(looked, runs, look, grams, compare_images, on_progress),
        processes_cka=between_processes(
            {(run.process, run.seed): grams[run.observer.run_id] for run in looked}
        ),
        filters=filters,
    )


def _targets(study: Study, look: Look) -> tuple[list[_Looked], list[str]]:
    """The runs to look at, and what is left out.

    Raises:
        RelayError: if none is left.
    """
    looked, skipped = [], []
    rows = whole_set_rows(study.runs, "seed", "folder")
    order = {name: place for place, name in enumerate(process_order(rows["process"]))}
    for row in sorted(rows.to_dict("records"), key=lambda row: (order[row["process"]], row["seed"])):
        folder = RunFolder(Path(row["folder"]))
        if not folder.weights.is_file():
            name = f"{row['stage']}/{short_id(row['id'])}"
            skipped.append(f"{row['process']}, seed {row['seed']}: {name} has no {folder.weights.name}")
            continue
        trained = folder.read_recipe()["arithmetic"]["precision"]
        precision: Precision = look.precision or ("bfloat16" if trained == "bf16-mixed" else "float32")
        observer = Observer(folder.path, row["id"], look.layer, look.rule)
        looked.append(_Looked(str(row["process"]), int(row["seed"]), observer, precision))
    if not looked:
        why = "; ".join(skipped) or "no run of a learning process used all training data"
        raise RelayError(f"there is no network to look at: {why}")
    return looked, skipped


def _shown_runs(by_process: Mapping[str, Sequence[_Looked]]) -> tuple[dict[str, _Looked], int | None]:
    """A run of each process, of the least seed that all have, or else of each one's least."""
    common = set.intersection(*({run.seed for run in runs} for runs in by_process.values()))
    seed = min(common) if common else None
    chosen = {
        name: next(run for run in runs if seed is None or run.seed == seed)
        for name, runs in by_process.items()
    }
    return chosen, seed


def _response(run: _Looked, size: int, look: Look, what: str, on_progress: OnProgress) -> Floats:
    return run.observer.response(
        size,
        norm=look.norm,
        directions=look.directions,
        count=look.count,
        precision=run.precision,
        on_progress=lambda done, total: on_progress(f"frequencies: {what}", done, total),
    )


def _stages(
    looked: Sequence[_Looked],
    runs: pd.DataFrame,
    look: Look,
    grams: Mapping[str, Arrays],
    images: Images,
    on_progress: OnProgress,
) -> pd.DataFrame:
    """CKA between every stage run of the chains and its parent; see `Observations.stages`."""
    rows = {row["id"]: row for row in runs.to_dict("records")}
    known = dict(grams)

    def layers_of(run_id: str) -> Arrays | None:
        if run_id not in known:
            folder = RunFolder(Path(rows[run_id]["folder"]))
            if not folder.weights.is_file():
                return None
            source = Observer(folder.path, run_id, look.layer, look.rule)
            known[run_id] = source.grams(images, list(LAYERS.values()))
        return known[run_id]

    found = []
    for number, run in enumerate(looked):
        on_progress("layers of parents and children", number, len(looked))
        child = rows[run.observer.run_id]
        while child["parent"] in rows:
            parent = rows[child["parent"]]
            first, second = layers_of(parent["id"]), layers_of(child["id"])
            if first is not None and second is not None:
                pair = {"process": run.process, "parent": parent["stage"], "child": child["stage"]}
                found += [pair | likeness for likeness in layer_likeness(first, second)]
            child = parent
    return mean_table(found, ["process", "parent", "child", "layer"], "cka")


def _shown(
    runs: Mapping[str, _Looked], seed: int | None, targets: TargetImages, rows: Sequence[int]
) -> Shown:
    names = [targets.classes[label] for label in targets.labels[list(rows)]]
    return _mapped(runs, seed, names, targets.images(rows), targets.for_the_eye(rows), grey=targets.grey)


def _shown_own(
    runs: Mapping[str, _Looked], seed: int | None, targets: TargetImages, own: tuple[Tensor, Tensor]
) -> Shown:
    names = [f"image {number}" for number in range(1, len(own[0]) + 1)]
    return _mapped(runs, seed, names, *own, grey=targets.grey)


def _mapped(
    runs: Mapping[str, _Looked],
    seed: int | None,
    names: list[str],
    images: Tensor,
    eye: Tensor,
    *,
    grey: bool,
) -> Shown:
    pictures = Images(images)
    maps = [torch.from_numpy(run.observer.maps(pictures)) for run in runs.values()]
    return Shown(
        rows=names,
        seed=seed,
        images=small(eye),
        maps=np.stack([small(normalised_maps(each, grey=grey)) for each in maps], axis=1),
        heat=np.stack([small(relative_heat(each)) for each in maps], axis=1),
    )
