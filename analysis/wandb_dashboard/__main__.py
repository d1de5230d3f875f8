"""The dashboard in W&B that compares learning processes: a saved view of a project's workspace.

python -m analysis.wandb_dashboard entity=TEAM project=relay study=paper              save it in W&B
python -m analysis.wandb_dashboard entity=TEAM study=paper dry_run=true out=view.json  write it to a file

entity=TEAM        your user or team in W&B
project=NAME       where the runs were logged, logger.project of conf/logger/default.yaml if left out
study=NAME         logger.study of the runs, several separated by commas
dry_run=true       write what would be sent to a file, without network or login
out=FILE           that file, wandb-dashboard.json if left out
metric=NAME        which metric stands first, accuracy if left out (names: docs/statistics.md)
test=open          read the locked test set, add test_METRIC to the runs' summaries and a section to the view
runs_dir=FOLDER    with test=open, the store of the runs, where the opening is written down

It holds no values: W&B draws them from the runs that `callbacks.tracking` logged, also those that come later.
The statistics of a study are made of records, by `analysis.report`.
"""

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.runs.openings import check_test
from analysis.runs.selection import process_order
from analysis.wandb_dashboard.charts import Chart, confusion_matrices, metric_against_ratio
from analysis.wandb_dashboard.locked_test_set import OpenedTestSet, open_test_set
from stages.console.output import output, refuse
from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.machine.wandb_login import logged_in
from stages.metrics import METRICS, PRIMARY, TRAIN_LOSS, Metric, metric_of, shown_in
from stages.processes import load_processes

LOGGER_DEFAULTS = Path(__file__).resolve().parent.parent.parent / "conf" / "logger" / "default.yaml"

# W&B's filters are expressions: a quote in a name would end the text that it stands in.
_NAME = re.compile(r"[\w .-]+")

_LINES_IN_A_PANEL = 100  # W&B shows 10 unless told: four processes at five ratios are 20


@dataclass
class DashboardConfig:
    """What the command takes, as KEY=VALUE.

    `entity` is the user or team in W&B; `project` and `study` are those that the runs were logged under
    (`logger.project`, `logger.study`), several studies separated by commas. `dry_run` writes what would be
    sent to `out`, without network or login. `metric` stands first. `test` may be `open`, with the store of
    the runs in `runs_dir`.
    """

    entity: str = MISSING
    project: str = MISSING
    study: str = MISSING
    dry_run: bool = False
    out: str = "wandb-dashboard.json"
    metric: str = PRIMARY
    test: str | None = None
    runs_dir: str | None = None

    @property
    def studies(self) -> list[str]:
        """The studies' names."""
        return [name.strip() for name in self.study.split(",")]


@dataclass(frozen=True)
class Dashboard:
    """What is sent to W&B: definitions of charts, and the view that uses them (a `Workspace`).

    And, once it is opened, the values of the test set, for the summaries of the runs.
    """

    entity: str
    charts: tuple[Chart, ...]
    workspace: Any
    test_set: OpenedTestSet | None = None

    def chart_requests(self) -> list[dict[str, Any]]:
        """Arguments of W&B's `Api.create_custom_chart`, for each chart."""
        return [
            {
                "entity": self.entity,
                "name": chart.name,
                "display_name": f"Relay: {chart.title}",
                "spec_type": "vega2",
                "access": "private",
                "spec": chart.spec,
            }
            for chart in self.charts
        ]

    def to_json(self) -> str:
        """All that would be sent, as indented JSON: `charts`, the `view` with its `spec`, `summaries`."""
        view = self.workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
        content = {"charts": self.chart_requests(), "view": view}
        if self.test_set is not None:
            content["summaries"] = self.test_set.values
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def save(self) -> str:
        """Send it, and give the address of the saved view.

        Raises:
            RelayError: if W&B refuses it or cannot be reached.
        """
        import wandb

        if self.test_set is not None:
            self.test_set.send(self.workspace.entity, self.workspace.project)
        try:
            api = wandb.Api()
            for request in self.chart_requests():
                _create_chart(api, request)
            return str(self.workspace.save().url)
        except Exception as error:  # wandb.Error, or one of its service, which it does not export
            where = f"{self.workspace.entity}/{self.workspace.project}"
            raise RelayError(f"W&B did not take the dashboard for {where}: {error}") from None


def _create_chart(api: Any, request: dict[str, Any]) -> None:
    try:
        api.create_custom_chart(**request)
    except Exception as error:
        # Its name is of its content: one of that name is this very chart, of an earlier dashboard.
        if not re.search("already|duplicate", str(error), re.IGNORECASE):
            raise


def read_arguments(arguments: Sequence[str]) -> DashboardConfig:
    """The command's arguments; project and study unless given as in `conf/logger/default.yaml`.

    Raises:
        RelayError: if an argument is unknown, missing or of a wrong type.
    """
    defaults = OmegaConf.load(LOGGER_DEFAULTS)
    assert isinstance(defaults, DictConfig)
    known = {key: defaults[key] for key in ("entity", "project", "study") if defaults[key] is not None}
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(DashboardConfig), known, OmegaConf.from_cli(list(arguments))
        )
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise RelayError(f"{missing[0]} is missing: add {missing[0]}=NAME, your user or team in W&B")
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise RelayError(
            f"{' '.join(arguments)}: {str(error).splitlines()[0]}; "
            "arguments are entity=, project=, study=, dry_run=, out=, metric=, test=, runs_dir="
        ) from None
    assert isinstance(config, DashboardConfig)
    for key, name in (("entity", config.entity), ("project", config.project)):
        _check_name(key, name)
    for name in config.studies:
        _check_name("study", name)
    if config.metric not in METRICS or METRICS[config.metric].per_class:
        names = ", ".join(name for name, each in METRICS.items() if not each.per_class)
        raise RelayError(f"metric={config.metric} is not known; there are: {names}")
    check_test(config.test)
    if (config.test is None) != (config.runs_dir is None):
        raise RelayError("test=open and runs_dir=FOLDER, the store of the runs, go together: give both")
    return config


def _check_name(key: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RelayError(f"{key}={name!r}: use letters, digits, spaces, '_', '-' and '.'")


def build_dashboard(
    entity: str,
    project: str,
    studies: Sequence[str],
    test_set: OpenedTestSet | None = None,
    metric: str = PRIMARY,
) -> Dashboard:
    """The dashboard of a project's studies. Needs neither network nor login.

    Args:
        entity: user or team in W&B.
        project: the project that the runs were logged to.
        studies: names of the studies whose runs are compared.
        test_set: their test set, if it was opened.
        metric: name of the one that stands first.
    """
    from wandb_workspaces import expr, workspaces

    names = process_order(load_processes())
    by_ratio, confusion = metric_against_ratio(names), confusion_matrices(names)
    sections = _sections(entity, by_ratio, confusion, test_set, metric_of(metric))
    workspace = workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"Learning processes, {' and '.join(studies)}",
        sections=[
            workspaces.Section(name=name, panels=content, is_open=True) for name, content in sections.items()
        ],
        settings=workspaces.WorkspaceSettings(max_runs=_LINES_IN_A_PANEL),
        runset_settings=workspaces.RunsetSettings(
            filters=expr.And(expr.Config("study").isin(list(studies)), expr.Config("role") == "target"),
            groupby=[expr.Config("process"), expr.Config("data_ratio")],
            order=[expr.Ordering(expr.Metric("Name"), ascending=True)],
            pinned_columns=[
                "config:process.value",
                "config:data_ratio.value",
                "config:seed.value",
                *(f"summary:{metric.column}" for metric in _first(metric_of(metric), _compared())),
                "summary:learning",
                "summary:plateau_reached",
                "tags:__ALL__",
            ],
        ),
    )
    return Dashboard(entity, (by_ratio, confusion), workspace, test_set)


def _compared() -> list[Metric]:
    return [metric for metric in shown_in("table 1") if metric.is_fraction]


def _first(metric: Metric, others: Sequence[Metric]) -> list[Metric]:
    return list(dict.fromkeys([metric, *others]))


def _sections(
    entity: str, by_ratio: Chart, confusion: Chart, test_set: OpenedTestSet | None, main: Metric
) -> dict[str, list[Any]]:
    """The panels of each section of the view."""
    from wandb_workspaces.reports.v2 import interface as panels

    def custom(chart: Chart, title: str, **metric: str) -> Any:
        label = {"metric": title} if metric else {}
        return panels.CustomChart(
            query={"summaryTable": {"tableKey": chart.table}},
            chart_name=f"{entity}/{chart.name}",
            chart_fields={name: name for name in chart.fields} | metric,
            chart_strings={"title": title} | label,
        )

    # Seeds are averaged, data ratios never.
    over_seeds: dict[str, Any] = {
        "groupby": panels.Config("process_and_ratio"),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "stddev",
        "max_runs_to_show": _LINES_IN_A_PANEL,
    }
    loss, few = metric_of(TRAIN_LOSS), _first(main, shown_in("overview"))
    curves = {loss.capitalised: loss} | {f"{metric.capitalised}, evaluation set": metric for metric in few}
    opened = {} if test_set is None else test_set.section(_compared(), over_seeds)
    return opened | {
        "Metric against data ratio": [
            custom(by_ratio, metric.capitalised, metric=metric.column) for metric in few
        ],
        "Representative values": [
            *(
                panels.BarPlot(
                    title=metric.capitalised, metrics=[metric.column], orientation="h", **over_seeds
                )
                for metric in _first(main, _compared())
            ),
            panels.WeavePanelSummaryTable(table_name=by_ratio.table, layout=panels.Layout(w=24, h=12)),
        ],
        "Learning curves": [
            panels.LinePlot(title=title, x="epoch", y=[metric.name], title_x="epoch", **over_seeds)
            for title, metric in curves.items()
        ],
        "Confusion matrices": [custom(confusion, "Confusion matrices at the largest data ratio")],
    }


def main(arguments: Sequence[str]) -> None:
    """Save the dashboard in W&B, or write it to a file.

    Raises:
        RelayError: if the arguments make no sense, or there is no login to save it with.
    """
    config = read_arguments(arguments)
    if not config.dry_run and not logged_in():
        raise RelayError(
            "not logged in to W&B: run `wandb login` (or set WANDB_API_KEY), or add dry_run=true to write "
            "the dashboard's specification to a file"
        )
    test_set = None
    if config.runs_dir is not None:
        typed = f"python -m analysis.wandb_dashboard {shlex.join(arguments)}"
        test_set = open_test_set(Path(config.runs_dir).expanduser(), config.studies, typed)
    dashboard = build_dashboard(config.entity, config.project, config.studies, test_set, config.metric)
    if config.dry_run:
        out = Path(config.out).expanduser()
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, dashboard.to_json())
        output().print(f"Nothing was sent. The dashboard's specification: {out}")
    else:
        output().print(f"The dashboard: {dashboard.save()}")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(__doc__)
    else:
        try:
            main(sys.argv[1:])
        except (RelayError, OSError) as error:
            refuse(error)
