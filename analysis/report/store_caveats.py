"""Caveats about the store that a report is made from: other studies, damaged, unfinished and unknown runs."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.report.page import Caveat
from analysis.runs.contents import replaced_images
from analysis.runs.load import DamagedRun
from analysis.runs.study import Study
from analysis.runs.study_choice import described
from analysis.runs.unfinished import UnfinishedRun
from stages.console.words import counted


def other_studies_caveats(studies: Sequence[Study], chosen: Study) -> list[Caveat]:
    """That the store holds other studies than the one on the page."""
    if len(studies) == 1:
        return []
    return [
        Caveat(
            f"This store holds {len(studies)} studies; this page is of {chosen.name}",
            "Their configurations differ, so their runs are not compared with each other. Provenance lists "
            "what differs; study=NAME reports another one.",
            tuple(
                f"{study.name}: {described(study, studies)}" + (" (this page)" if study is chosen else "")
                for study in studies
            ),
            serious=False,
        )
    ]


def replaced_caveats(runs: pd.DataFrame) -> list[Caveat]:
    """That files were replaced under their names between runs.

    Args:
        runs: of the whole store.
    """
    items = [
        f"{each.stage}: "
        + "; ".join(f"content {name} ({counted(n, 'run')})" for name, n in each.runs.items())
        for each in replaced_images(runs)
    ]
    if not items:
        return []
    return [
        Caveat.listing(
            "Images were replaced between runs",
            "Their list of images is one, of equal names and sizes, but the files were others: these runs "
            "are not of the same data. They are different studies, and are not compared.",
            items,
        )
    ]


def damaged_caveats(damaged: Sequence[DamagedRun], runs_dir: Path) -> list[Caveat]:
    """Finished runs of the store, of any study, that are left out because a file of them was changed.

    Args:
        damaged: which.
        runs_dir: the store; paths are shown below it.
    """
    if not damaged:
        return []
    return [
        Caveat.listing(
            f"{counted(len(damaged), 'finished stage run')} of this store "
            f"{'is' if len(damaged) == 1 else 'are'} damaged",
            "They are in no table. python -m stages.verify runs_dir=RUNS_DIR says all that is wrong.",
            [run.why.replace(f"{runs_dir}/", "") for run in damaged],
        )
    ]


def unfinished_caveats(unfinished: Sequence[UnfinishedRun]) -> list[Caveat]:
    """Failed and unfinished stage runs of the store, of any study."""
    found = []
    for failed in (True, False):
        chosen = [run for run in unfinished if (run.failure is not None) == failed]
        if not chosen:
            continue
        items = [
            f"{run.stage}"
            + ("" if run.seed is None else f", seed {run.seed}")
            + ("" if run.data_ratio is None else f", {100 * run.data_ratio:g}%")
            + (f", fold {run.fold}" if run.fold else "")
            + (f": {run.failure}" if run.failure else "")
            + f" ({run.folder})"
            for run in chosen
        ]
        text = (
            "They are in no table. The traceback is in failure.txt of each folder; the same command trains "
            "them again."
            if failed
            else "They are running, waiting, or were killed; the same command continues them."
        )
        what = "failed" if failed else ("is not finished" if len(chosen) == 1 else "are not finished")
        title = f"{counted(len(chosen), 'stage run')} of this store {what}"
        found.append(Caveat.listing(title, text, items, serious=failed))
    return found


def unknown_caveats(runs: pd.DataFrame, target: str) -> list[Caveat]:
    """Finished runs of the target that belong to no learning process.

    Args:
        runs: of the whole store.
        target: the study's.
    """
    ends = runs[(runs["stage"] == target) & runs["process"].isna() & ~runs["id"].isin(set(runs["parent"]))]
    if ends.empty:
        return []
    chains = sorted({f"{row.chain} ({row.transfer_rule})" for row in ends.itertuples()})
    return [
        Caveat.listing(
            f"{counted(len(ends), 'finished run')} of {target} of no known process",
            "No file in conf/process has their chain and transfer rule, so they are in no table. Write one, "
            "or restore the file that they were trained with.",
            [chain.replace(">", " > ") for chain in chains],
        )
    ]
