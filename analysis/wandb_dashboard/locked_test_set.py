"""The locked test set in Weights & Biases: opened when asked for, one value of each metric for each run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.runs.load import load_runs
from analysis.runs.openings import Opening, metrics_of_test, open_test_sets, ordinal, with_test
from stages.console.words import counted
from stages.errors import RelayError
from stages.metrics import Metric
from stages.recipe import short_id
from stages.store import RunFolder
from stages.stored import read_yaml


@dataclass(frozen=True)
class OpenedTestSet:
    """The metrics of the test images.

    Attributes:
        opening: which it was.
        values: by the id of the W&B run, then by name, test_METRIC.
    """

    opening: Opening
    values: Mapping[str, Mapping[str, float]]

    def section(self, metrics: Sequence[Metric], style: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The section of the view: bars of each metric.

        Args:
            metrics: which.
            style: arguments of W&B's panels, such as how runs are grouped.
        """
        from wandb_workspaces.reports.v2 import interface as panels

        title = f"Locked test set, {ordinal(self.opening.number)} opening, {self.opening.time}"
        return {
            title: [
                panels.BarPlot(
                    title=f"{metric.capitalised}, test set",
                    metrics=[f"test_{metric.name}"],
                    orientation="h",
                    **style,
                )
                for metric in metrics
            ]
        }

    def send(self, entity: str, project: str) -> None:
        """Add the values to the summaries of the W&B runs.

        Raises:
            RelayError: if a run is not in W&B, or W&B cannot be reached.
        """
        import wandb

        api: Any = wandb.Api()
        missing = []
        for run_id, values in self.values.items():
            try:
                run = api.run(f"{entity}/{project}/{run_id}")
                run.summary.update(dict(values))
            except Exception:  # wandb.Error, or one of its service, which it does not export
                missing.append(run_id)
        if missing:
            raise RelayError(
                f"{counted(len(missing), 'run')} of {len(self.values)}, such as {missing[0]}, did not take "
                f"test values: not in {entity}/{project} yet, or out of reach. Send offline runs with wandb "
                "sync first, then type the command again; that is another opening"
            )


def open_test_set(runs_dir: Path, studies: Sequence[str], command: str) -> OpenedTestSet:
    """Open the test sets of the target runs that were logged under some studies.

    Args:
        runs_dir: their store.
        studies: names, `logger.study` of the runs.
        command: what asks for it.

    Raises:
        RelayError: as `analysis.runs.openings.open_test_sets`; if the store does not exist.
    """
    try:
        runs = with_test(load_runs(runs_dir))
    except FileNotFoundError as error:
        raise RelayError(str(error)) from None
    runs = runs[runs["process"].notna()]
    its = [_study(RunFolder(Path(folder)).config) for folder in runs["folder"]]
    if its and not set(its) & set(studies):
        known = ", ".join(sorted({str(name) for name in its}))
        raise RelayError(
            f"test=open, but no run of {runs_dir} that has a test set was logged under "
            f"study={','.join(studies)}; there are {known}. Nothing was opened"
        )
    runs = runs[[study in studies for study in its]]
    predictions, opening = open_test_sets(runs, runs_dir, command)
    values = {short_id(run): metrics_of_test(each) for run, each in zip(runs["id"], predictions, strict=True)}
    return OpenedTestSet(opening, values)


def _study(config: Path) -> str | None:
    """`logger.study` of a run; None if its configuration cannot be read."""
    try:
        return str(read_yaml(config)["logger"]["study"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
