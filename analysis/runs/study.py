"""Studies: the stage runs of a store that belong together.

One store may hold the target runs of several configurations, such as two image sizes. An average over them
would mean nothing. So runs are grouped by everything in their recipes except chain, transfer rule, seed, data
ratio, fold and parent, and by their images, should these have been replaced under their names: each group is
a study. A run whose recipe lacks a setting fits every value of it (learning from scratch has no learning rate
on transfer and no sources), so one run can belong to several studies.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.runs.configuration import given_name
from analysis.runs.selection import metric_column, metrics_of
from stages.errors import RelayError
from stages.store import RunFolder

SOURCE_SEED = "source_seed"
TARGETS_SEED = "the target's"

_LENGTH_OF_ID, _LETTERS_BEHIND = 8, 4

# What differs between the runs of one study. A parent is compared by its own recipe instead.
_VARIED = ("id", "seed", "fold", "parent", "data.ratio")

# What is said of a target only.
_OF_TARGET = ("folds", "test_fraction")

# One key of the recipe for two of the configuration: the value from random weights and the one on transfer.
_BY_START = ("optim.lr", "optim.gradient_clip")

_NORMALISATION = {"data.mean": "mean", "data.std": "std"}

_LAYERS = "transfer_layers"
_GIVEN = "weights of"  # a given stage's: its file's SHA-256
_CONTENT = "data.content"

Settings = Mapping[str, str]


@dataclass(frozen=True)
class Study:
    """Target runs of one configuration.

    Attributes:
        id: 8 hex digits, from target and settings.
        name: what the user called it (`logger.study`), or else its target. Names that several studies of a
            store share have the beginning of the id behind them.
        target: the last stage of the chains.
        settings: what all runs share, JSON values by the recipe's dotted keys; `STAGE: ` stands before a key
            that differs between the stages of a chain.
        runs: rows of `analysis.runs.load_runs`, without the metrics that none of them has.
    """

    id: str
    name: str
    target: str
    settings: Settings
    runs: pd.DataFrame


def find_studies(runs: pd.DataFrame) -> list[Study]:
    """Group a store's target runs by configuration, the group with the most runs first.

    Args:
        runs: the table of `analysis.runs.load_runs`.

    Returns:
        One study per configuration; none if no run is the target of a process.
    """
    lineages = _Lineages(runs)
    studies = []
    targets = runs[runs["process"].notna()]
    for target, rows in targets.groupby("stage", sort=True):
        # {index: settings} of the target's runs; few of the settings are distinct
        settings = dict(zip(rows.index, lineages.settings(rows["id"]), strict=True))
        members: dict[frozenset[tuple[str, str]], list[Any]] = {}
        for index, of_run in settings.items():
            members.setdefault(frozenset(of_run.items()), []).append(index)
        for clique in _largest_compatible(list(members)):
            shared = dict(sorted(item for signature in clique for item in signature))
            indices = sorted(index for signature in clique for index in members[signature])
            studies += _by_source_seed(str(target), shared, rows.loc[indices], lineages)
    namesakes = Counter(study.name for study in studies)
    named = [
        study
        if namesakes[study.name] == 1
        else replace(study, name=f"{study.name}-{study.id[:_LETTERS_BEHIND]}")
        for study in studies
    ]
    return sorted(named, key=lambda study: (-len(study.runs), study.id))


def differences(studies: Sequence[Study]) -> dict[str, dict[str, str | None]]:
    """Settings in which studies differ: for each key its JSON value (or None) by the study's id.

    A normalisation that each study has of its network is no setting, and left out.
    """
    keys = sorted({key for study in studies for key in study.settings} | {"target"})
    table: dict[str, dict[str, str | None]] = {}
    for key in keys:
        values = {study.id: study.target if key == "target" else study.settings.get(key) for study in studies}
        if len(set(values.values())) > 1 and not all(_of_its_network(study, key) for study in studies):
            table[key] = values
    return table


def _of_its_network(study: Study, key: str) -> bool:
    """Whether a key is the normalisation, and has what `data.mean=null` gives with the study's network."""
    part = _NORMALISATION.get(key.rpartition(": ")[2])
    if part is None:
        return False
    value = json.loads(study.settings.get(key, "null"))
    architecture = json.loads(study.settings.get("model.architecture", "null"))
    if value is None or architecture is None:
        return value is None
    from lightning_modules.backbones import backbone_specification  # torch and timm

    try:
        own = backbone_specification(architecture).input
    except RelayError:  # another version of timm's
        return False
    return own is not None and value == list(getattr(own, part))


class _Lineages:
    """The recipes of a store's runs and of their sources."""

    def __init__(self, runs: pd.DataFrame) -> None:
        columns = (runs[name] for name in ("id", "stage", "parent", "folder", "seed"))
        self._runs = {row[0]: row[1:] for row in zip(*columns, strict=True)}
        self._recipes = {run: _flat_recipe(Path(row[2])) for run, row in self._runs.items()}
        _tell_rules_apart(self._recipes.values())
        self._tell_contents_apart(runs)

    def _tell_contents_apart(self, runs: pd.DataFrame) -> None:
        """Make a setting of the images' content where runs of one digest differ in it, and only there."""
        several = runs.groupby("data_digest")["content"].transform("nunique") > 1
        for run, content in runs.loc[several & runs["content"].notna(), ["id", "content"]].itertuples(
            index=False
        ):
            self._recipes[run][_CONTENT] = json.dumps(content)

    def source_seed(self, run: str) -> int | None:
        """The seed of a run's parent; None if there is no parent, or its record is missing."""
        parent = self._runs[run][1]
        return int(self._runs[parent][3]) if parent in self._runs else None

    def settings(self, runs: Iterable[str]) -> list[dict[str, str]]:
        """Settings of each run: its own and those of its sources.

        A key is given once if all stages of every chain agree on it, and otherwise once per stage.
        """
        lineages = [self._lineage(run) for run in runs]
        differing: set[str] = set()
        for lineage in lineages:
            merged: dict[str, str] = {}
            for _, recipe in lineage:
                differing |= {key for key, value in recipe.items() if merged.setdefault(key, value) != value}
        return [
            {
                (f"{stage}: {key}" if key in differing or _is_of_stage(key) else key): value
                for stage, recipe in lineage
                for key, value in recipe.items()
            }
            for lineage in lineages
        ]

    def _lineage(self, run: str) -> list[tuple[str, dict[str, str]]]:
        """Stage and recipe of a run and of its ancestors, without the transfer rules that make its process.

        These are its own and those of the stages between. The first stage's rule stays: it says what was kept
        of a checkpoint of the user's.
        """
        lineage = []
        ancestor: str | None = run
        while ancestor in self._runs:
            stage, parent = self._runs[ancestor][:2]
            recipe = self._recipes[ancestor]
            between = parent is not None or any(key.startswith(_GIVEN) for key in recipe)
            left_out = {"transfer"} if ancestor == run or between else set()
            left_out.update(() if ancestor == run else _OF_TARGET)
            recipe = {key: value for key, value in recipe.items() if key not in left_out}
            lineage.append((str(stage), recipe))
            ancestor = parent
        return lineage


def _is_of_stage(key: str) -> bool:
    return key in ("data.digest", _CONTENT, "transfer", "init_from")


def _flat_recipe(folder: Path) -> dict[str, str]:
    """A recipe as JSON values by dotted key, without what varies in a study; {} if it cannot be read."""
    try:
        content = RunFolder(folder).read_recipe()
    except RelayError:
        return {}
    if not isinstance(content, dict):
        return {}
    layers, given = content.pop(_LAYERS, None), content.pop("given", None)
    if given is not None:
        content[f"{_GIVEN} {given}"] = content.pop("init_from", None)
    start = "from random weights" if content.get("transfer") is None else "on transfer"
    flat: dict[str, str] = {}
    for key, value in _leaves(content):
        if key in _VARIED or key == "stage" or (key in ("transfer", "init_from") and value is None):
            continue
        flat[f"{key} {start}" if key in _BY_START else key] = json.dumps(value, sort_keys=True)
    if "transfer" in flat:
        flat[_LAYERS] = json.dumps(layers, sort_keys=True)
    return flat


def _tell_rules_apart(recipes: Iterable[dict[str, str]]) -> None:
    """Make a setting of a transfer rule's layers where rules of one name differ in them, and only there.

    Runs that are alike but for a rule of one name and other layers, edited in between, are two studies; runs
    by two rules are two processes of one study.
    """
    layers: dict[str, set[str]] = {}
    for recipe in recipes:
        if "transfer" in recipe:
            layers.setdefault(recipe["transfer"], set()).add(recipe[_LAYERS])
    for recipe in recipes:
        described = recipe.pop(_LAYERS, "")
        if len(layers.get(recipe.get("transfer", ""), ())) > 1:
            recipe[f"layers of transfer={json.loads(recipe['transfer'])}"] = described


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _largest_compatible(
    signatures: Sequence[frozenset[tuple[str, str]]],
) -> list[list[frozenset[tuple[str, str]]]]:
    """All maximal sets of settings in which no two contradict each other (Bron and Kerbosch, 1973).

    Settings that agree pairwise agree as a whole, because each key has one value then.
    """
    values = [dict(signature) for signature in signatures]

    def agree(a: int, b: int) -> bool:
        return all(values[b].get(key, value) == value for key, value in values[a].items())

    everyone = range(len(signatures))
    neighbours = {a: {b for b in everyone if a != b and agree(a, b)} for a in everyone}
    cliques: list[list[frozenset[tuple[str, str]]]] = []

    def extend(clique: list[int], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded:
            cliques.append([signatures[member] for member in clique])
            return
        pivot = max(candidates | excluded, key=lambda vertex: len(neighbours[vertex] & candidates))
        for vertex in sorted(candidates - neighbours[pivot]):
            extend([*clique, vertex], candidates & neighbours[vertex], excluded & neighbours[vertex])
            candidates, excluded = candidates - {vertex}, excluded | {vertex}

    extend([], set(everyone), set())
    return cliques


def _by_source_seed(target: str, settings: Settings, rows: pd.DataFrame, lineages: _Lineages) -> list[Study]:
    """Split runs whose sources have their target's seed from those that share one source among all seeds.

    A run whose source has the run's own seed belongs to both if that is also the shared seed.
    """
    seeds = [lineages.source_seed(run) for run in rows["id"]]
    pairs = list(zip(rows["seed"], seeds, strict=True))
    shared = sorted({source for own, source in pairs if source is not None and source != own})
    studies = []
    own_seeds = [source is None or source == own for own, source in pairs]
    if not shared or any(source not in (None, *shared) for _, source in pairs):
        studies.append(_study(target, {**settings, SOURCE_SEED: TARGETS_SEED}, rows[own_seeds]))
    for seed in shared:
        chosen = [source in (None, seed) for _, source in pairs]
        studies.append(_study(target, {**settings, SOURCE_SEED: str(seed)}, rows[chosen]))
    return studies


def _study(target: str, settings: Settings, rows: pd.DataFrame) -> Study:
    content = json.dumps([target, dict(settings)], sort_keys=True)
    # Sources that another version trained may have metrics that these runs do not have.
    columns = [metric_column(rows, metric) for metric in metrics_of(rows)]
    rows = rows.drop(columns=[name for name in columns if rows[name].isna().all()])
    id_ = hashlib.sha256(content.encode()).hexdigest()[:_LENGTH_OF_ID]
    return Study(id_, given_name(rows["folder"]) or target, target, settings, rows)
