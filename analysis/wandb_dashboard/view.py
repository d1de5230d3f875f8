"""The view of a project's workspace in W&B: its charts, its sections, and how it is saved."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.runs.selection import process_order
from analysis.wandb_dashboard.charts import Chart, confusion_matrices, metric_against_ratio
from analysis.wandb_dashboard.locked_test_set import OpenedTestSet
from stages.errors import RelayError
from stages.metrics import PRIMARY, TRAIN_LOSS, Metric, metric_of, shown_in
from stages.processes import load_processes

_LINES_IN_A_PANEL = 100  # W&B shows 10 unless told: four processes at five ratios are 20


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
        ]
        + [
            panels.LinePlot(
                title="Learning rate", x="epoch", y=["learning_rate"], title_x="epoch", **over_seeds
            )
        ],
        "Confusion matrices": [custom(confusion, "Confusion matrices at the largest data ratio")],
    }
