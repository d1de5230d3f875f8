"""Explaining a study: all analyses of its networks, and what is stored of them. Loads no torch to read it."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.explain.arrays import DAMAGED, Arrays, read_tree, write_tree
from analysis.explain.cached_network import FOLDER
from analysis.explain.study_images import StudyImages
from analysis.explain.study_networks import study_networks
from analysis.report import explanations
from analysis.report.explanation import Explanation, StudyFacts
from analysis.runs.study import Study
from stages.errors import RelayError
from stages.recipe import short_id
from stages.store import RunFolder

if TYPE_CHECKING:
    from analysis.explain.target_images import TargetImages

OnProgress = Callable[[str, int, int], None]
"""What is being done, how much of it, of how much."""

_VERSION = 1


@dataclass(frozen=True)
class ExplainedStudy:
    """What was computed from a study's networks.

    Attributes:
        facts: Of the study.
        summaries: By the analysis's name; see `Explanation.summarise`.
    """

    facts: StudyFacts
    summaries: Mapping[str, Any]


def all_explanations() -> list[Explanation[Any, Any]]:
    """The analyses, in the page's order: the EXPLANATION of each file of `analysis.report.explanations`."""
    modules = [
        importlib.import_module(f"{explanations.__name__}.{each.name}")
        for each in pkgutil.iter_modules(explanations.__path__)
    ]
    found = [module.EXPLANATION for module in modules if hasattr(module, "EXPLANATION")]
    return sorted(found, key=lambda explanation: explanation.order)


def explain_study(
    study: Study,
    runs: pd.DataFrame,
    targets: "TargetImages",
    settings: Mapping[str, Any],
    on_progress: OnProgress,
) -> ExplainedStudy:
    """All analyses of the networks of a study that were trained on the whole training set.

    One network is in memory at a time; what was computed before is read from disk.

    Args:
        study: Which.
        runs: All of the store's, for the sources.
        targets: The evaluation set.
        settings: Of each analysis, by its name.
        on_progress: Called as work is done.

    Raises:
        RelayError: If there is no network to explain, or a setting cannot be used.
    """
    networks = study_networks(study, runs)
    images = StudyImages(targets, [network.folder.path for network in networks.targets])
    analyses = all_explanations()
    for analysis in analyses:
        analysis.check(images, settings[analysis.name])
    results: dict[str, dict[str, Arrays]] = {analysis.name: {} for analysis in analyses}
    for number, network in enumerate(networks.one_at_a_time()):
        for analysis in analyses:
            if network.process is not None or analysis.of_sources:
                what = f"{analysis.name}: {network.title}"
                on_progress(what, number, len(networks.targets) + len(networks.sources))
                results[analysis.name][network.run_id] = analysis.compute(
                    network,
                    images,
                    settings[analysis.name],
                    partial(on_progress, what),
                )
    facts = StudyFacts(
        study=study.id,
        target=study.target,
        size=images.size,
        native_size=images.native_size,
        runs=[network.run_id for network in networks.targets],
        processes=networks.processes,
        seeds={name: [each.seed for each in found] for name, found in networks.by_process.items()},
        seed=networks.seed,
        skipped=list(networks.skipped),
        weights={
            f"{each.stage}/{short_id(each.run_id)}": each.weights_digest
            for each in (*networks.targets, *networks.sources)
        },
    )
    summaries = {
        analysis.name: analysis.summarise(networks, results[analysis.name], images, settings[analysis.name])
        for analysis in analyses
    }
    return ExplainedStudy(facts, summaries)


def save_explained(explained: ExplainedStudy, runs_dir: Path) -> Path:
    """Write what was computed from a study, whole or not at all; it replaces what was there of this study."""
    file = _file(runs_dir, explained.facts.study)
    tree = {
        "version": _VERSION,
        "facts": asdict(explained.facts),
        "versions": _versions(),
        "summaries": explained.summaries,
    }
    write_tree(file, tree)
    return file


def load_explained(runs_dir: Path, study: str) -> ExplainedStudy | None:
    """What was computed from a study, or None if its networks have not been analysed.

    Networks that were trained again since, to other bits, have not.
    Summaries of analyses that are new or of another version are missing from it.

    Raises:
        RelayError: If the file is damaged or of another version.
    """
    file = _file(runs_dir, study)
    if not file.is_file():
        return None
    try:
        tree = read_tree(file)
        if tree["version"] != _VERSION:
            raise RelayError(f"{file} is of another version of Relay; run analysis.visualize again")
        summaries = {
            name: tree["summaries"][name]
            for name, version in _versions().items()
            if tree["versions"].get(name) == version
        }
        facts = StudyFacts(**tree["facts"])
        changed = any(_is_another(runs_dir / folder, digest) for folder, digest in facts.weights.items())
        return None if changed else ExplainedStudy(facts, summaries)
    except (*DAMAGED, KeyError, TypeError) as error:
        raise RelayError(f"{file} is damaged ({error}); run analysis.visualize again") from None


def _is_another(folder: Path, digest: str) -> bool:
    """Whether a run has other weights than it had; a run that is gone or damaged has none."""
    try:
        return RunFolder(folder).weights_digest() != digest
    except RelayError:
        return False


def _versions() -> dict[str, int]:
    return {analysis.name: analysis.version for analysis in all_explanations()}


def _file(runs_dir: Path, study: str) -> Path:
    return runs_dir / FOLDER / f"study-{study}.npz"
