"""Caveats about plateaus: runs that never learned, and runs whose training ended too early."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.report.page import Caveat, relative
from stages.console.words import counted
from stages.record import NOT_LEARNING

_NEVER = "In the end their training loss is about that of guessing by the classes' frequencies."


def plateau_caveats(runs: pd.DataFrame, labels: Mapping[str, str], runs_dir: Path) -> list[Caveat]:
    """Targets that did not learn, or did not reach their plateau.

    Args:
        runs: the study's runs.
        labels: of the processes.
        runs_dir: the store, to which folders are shown relative.
    """
    named = {
        folder: f"{labels[process]}, seed {seed}, {100 * ratio:g}%"
        f"{'' if pd.isna(fold) else f', fold {fold}'}: {relative(folder, runs_dir)}"
        for process, seed, ratio, fold, folder in zip(
            *(runs[name] for name in ("process", "seed", "data_ratio", "fold", "folder")), strict=True
        )
    }
    return _caveats(
        runs,
        "run",
        named,
        never="They are hardly better than chance, and a mean over seeds with them says little of the "
        "process. Try another learning rate, or more epochs.",
        unreached="Their values are those of the last epochs, marked * in tables and figures. Raise "
        "callbacks.plateau.max_epochs.",
    )


def source_caveats(sources: pd.DataFrame, runs_dir: Path) -> list[Caveat]:
    """Sources that did not learn, or did not reach their plateau; arguments as `plateau_caveats`."""
    named = {
        folder: f"{stage}, seed {seed}: {relative(folder, runs_dir)}"
        for stage, seed, folder in zip(sources["stage"], sources["seed"], sources["folder"], strict=True)
    }
    return _caveats(
        sources,
        "source run",
        named,
        never="What targets took over from them is hardly more than random weights.",
        unreached="Targets started from these weights. Longer training of a source may change what they "
        "take over.",
    )


def _caveats(
    runs: pd.DataFrame, what: str, named: Mapping[str, str], *, never: str, unreached: str
) -> list[Caveat]:
    learning, reached = runs["learning"].astype(bool), runs["plateau_reached"].astype(bool)
    number = counted(len(runs), what)
    found: list[tuple[Sequence[str], str, str]] = [
        (list(runs["folder"][~learning]), f"did not learn ({NOT_LEARNING})", f"{_NEVER} {never}"),
        (
            list(runs["folder"][learning & ~reached]),
            "did not reach the plateau",
            f"Training ended at max_epochs while the loss still fell. {unreached}",
        ),
    ]
    return [
        Caveat.listing(f"{len(folders)} of {number} {did}", text, [named[folder] for folder in folders])
        for folders, did, text in found
        if folders
    ]
