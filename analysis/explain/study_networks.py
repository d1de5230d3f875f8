"""The networks of a study: the runs that are compared, and the source runs that they came from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.explain.cached_network import CachedNetwork
from analysis.runs.folds import in_folds
from analysis.runs.selection import on_whole_set, process_order, run_rows
from analysis.runs.study import Study
from stages.errors import RelayError
from stages.recipe import short_id
from stages.store import RunFolder


@dataclass(frozen=True)
class StudyNetworks:
    """The networks of a study whose weights are there.

    Attributes:
        targets: Those that are compared, in the page's order of processes, then by seed.
        sources: Those that the targets came from, each once.
        parents: The parent's id by that of each run of the chains, with or without weights.
        skipped: Targets without weights, each named in one sentence.
        seed: Of the networks that are shown, or None where the processes have no seed in common.
    """

    targets: Sequence[CachedNetwork]
    sources: Sequence[CachedNetwork]
    parents: Mapping[str, str]
    skipped: Sequence[str]
    seed: int | None

    @cached_property
    def by_process(self) -> dict[str, list[CachedNetwork]]:
        """The targets of each process, in the page's order."""
        names = dict.fromkeys(str(network.process) for network in self.targets)
        return {name: [each for each in self.targets if each.process == name] for name in names}

    @property
    def processes(self) -> list[str]:
        """Names of the processes, in the page's order."""
        return list(self.by_process)

    def one_at_a_time(self) -> Iterator[CachedNetwork]:
        """Targets, then sources; the weights of each are forgotten when the next one is asked for."""
        for network in (*self.targets, *self.sources):
            try:
                yield network
            finally:
                network.forget()

    def stages(self, target: CachedNetwork) -> Iterator[tuple[CachedNetwork, CachedNetwork]]:
        """Parent and child of each stage of a chain, from the target back, where both have their weights."""
        known = {network.run_id: network for network in (*self.targets, *self.sources)}
        child = target.run_id
        while child in self.parents:
            parent = self.parents[child]
            if parent in known and child in known:
                yield known[parent], known[child]
            child = parent


def rows_to_explain(runs: pd.DataFrame) -> pd.DataFrame:
    """The target runs on the whole training set whose networks are explained.

    With folds those of fold 0 of one seed, that of the most processes, the first of equals: they share one
    evaluation set. Other seeds are divided in another way, so that their networks have seen some of its
    images.
    """
    rows = run_rows(on_whole_set(runs), "seed", "folder")
    if not in_folds(rows):
        return rows
    rows = rows[rows["fold"] == 0]
    processes = rows.groupby("seed")["process"].nunique()
    return rows[rows["seed"] == processes.idxmax()] if len(rows) else rows


def study_networks(study: Study, runs: pd.DataFrame) -> StudyNetworks:
    """The networks of a study that were trained on the whole training set, and those they came from.

    Args:
        study: Which.
        runs: All of the store's, for the sources.

    Raises:
        RelayError: If no network is left; says why.
    """
    rows: dict[str, Any] = {row["id"]: row for row in runs.to_dict("records")}
    chosen = rows_to_explain(study.runs)
    order = process_order(chosen["process"])
    records: list[Any] = chosen.to_dict("records")
    targets, skipped = [], []
    for row in sorted(records, key=lambda row: (order.index(row["process"]), row["seed"])):
        network = _network(row, process=str(row["process"]))
        if network.folder.weights.is_file():
            targets.append(network)
        else:
            name = f"{row['stage']}/{short_id(row['id'])}"
            skipped.append(f"{network.title}: {name} has no {network.folder.weights.name}")
    if not targets:
        whole = "no run of a learning process used all training data"
        why = "; ".join(skipped) or (f"{whole} in fold 0" if in_folds(study.runs) else whole)
        raise RelayError(f"there is no network to explain: {why}")
    parents: dict[str, str] = {}
    for network in targets:
        child = network.run_id
        while rows[child]["parent"] in rows:
            parents[child] = rows[child]["parent"]
            child = parents[child]
    sources = [_network(rows[run_id]) for run_id in dict.fromkeys(parents.values())]
    shown, seed = _shown(targets)
    return StudyNetworks(
        targets=[replace(network, shown=network.run_id in shown) for network in targets],
        sources=[network for network in sources if network.folder.weights.is_file()],
        parents=parents,
        skipped=skipped,
        seed=seed,
    )


def _network(row: Mapping[str, Any], process: str | None = None) -> CachedNetwork:
    folder = RunFolder(Path(row["folder"]))
    return CachedNetwork(folder, str(row["id"]), str(row["stage"]), int(row["seed"]), process)


def _shown(targets: Sequence[CachedNetwork]) -> tuple[set[str], int | None]:
    """The run of each process with the least seed that all processes have, or else with its own least."""
    seeds: dict[str, dict[int, str]] = {}
    for network in targets:
        seeds.setdefault(str(network.process), {})[network.seed] = network.run_id
    common = set.intersection(*(set(of_process) for of_process in seeds.values()))
    seed = min(common) if common else None
    return {runs[min(runs) if seed is None else seed] for runs in seeds.values()}, seed
