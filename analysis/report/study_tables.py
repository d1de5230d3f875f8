"""Tables of the comparison and of the robustness (paper, Tables 1 and 2)."""

from collections.abc import Iterable, Mapping

import pandas as pd

from analysis.report import tables
from analysis.report.tables import Column, Table
from analysis.runs.selection import whole_set_rows
from stages.metrics import Metric, metric_of, shown_in

Labels = Mapping[str, str]

PROCESS = tables.text("label", "process")
METRIC = tables.text("metric", "metric", name=lambda name: metric_of(name).heading)
METRIC_UNSCALED = tables.text(
    "metric",
    "metric",
    name=lambda name: metric_of(name).title,
    below=lambda name: metric_of(name).description,
)
PAIR = (tables.text("a", "process"), tables.text("b", "against"))


def table_1(comparison: pd.DataFrame, runs: pd.DataFrame, labels: Labels) -> Table:
    """Mean, deviation and interval of the main metrics of each process (paper, Table 1).

    Args:
        comparison: of `analysis.statistics.comparison.compare`.
        runs: the study's runs.
        labels: of the processes, in order.
    """
    whole = whole_set_rows(runs, "seed")
    reached = whole.groupby("process")["plateau_reached"].agg(["sum", "count"])
    metrics = [metric for metric in shown_in("table 1") if metric.name in set(comparison["metric"])]
    rows = []
    for process in comparison["process"].unique():
        of_process = comparison[comparison["process"] == process].set_index("metric")
        plateaus, number = reached.loc[process]
        row = {"label": labels[process], "process": process, "seeds": number, "plateaus_reached": plateaus}
        row["mark"] = "" if plateaus == number else " *"
        for metric in metrics:
            for part in ("mean", "std", "ci_low", "ci_high"):
                row[f"{metric.name}_{part}"] = of_process.loc[metric.name, part]
        rows.append(row)
    columns = [PROCESS, *estimates(metrics, mark="mark")]
    columns += [tables.number("seeds", "seeds", 0), tables.number("plateaus_reached", "plateaus reached", 0)]
    return Table(
        "table1",
        "Performance with all training data (paper: Table 1)",
        "As the paper's: mean ± standard deviation over seeds of the representative value (75th percentile "
        "over the plateau), and the mean's 95% interval for new seeds on these images. Precision, recall and "
        "F1 are macro averages. * not every plateau was reached.",
        columns,
        pd.DataFrame(rows, columns=[*rows[0]] if rows else ["label"]),
    )


def all_metrics(comparison: pd.DataFrame, labels: Labels) -> Table:
    """Every metric of every process."""
    return Table(
        "metrics",
        "All metrics with all training data",
        "Representative values, over seeds as in the paper's Table 1, each metric in its own unit (a "
        "fraction is in [0, 1]). A metric that is not defined on the evaluation set is left out.",
        [
            PROCESS,
            METRIC_UNSCALED,
            tables.number("mean", "mean", 4),
            tables.number("std", "standard deviation", 4),
            tables.number("ci_low", "95% from", 4),
            tables.number("ci_high", "to", 4),
            tables.number("n", "seeds", 0),
        ],
        labelled(comparison, labels),
    )


def ratio_table(at_ratios: pd.DataFrame, labels: Labels, unreached: set[tuple[str, float]]) -> Table:
    """The metrics of Figure 6 at each data ratio.

    Args:
        at_ratios: of `analysis.statistics.robustness.at_ratios`, with a column `metric`.
        labels: of the processes.
        unreached: cells in which a plateau was not reached.
    """
    wide = at_ratios.pivot(index=["process", "data_ratio"], columns="metric")
    wide.columns = ["_".join(map(str, names[::-1])) for names in wide.columns.to_list()]
    data = wide.reset_index()
    data = in_order(data, labels, "data_ratio")
    cells = zip(data["process"], data["data_ratio"], strict=True)
    data["mark"] = [" *" if cell in unreached else "" for cell in cells]
    there = dict.fromkeys(at_ratios["metric"])
    metrics = [metric_of(name) for name in there]
    columns = [PROCESS, tables.number("data_ratio", "training images (%)", 0, scale=100.0)]
    columns += estimates(metrics, mark="mark")
    columns += [tables.number(f"{metrics[0].name}_n", "seeds", 0)] if metrics else []
    return Table(
        "ratios",
        "Values at each amount of training data",
        "Mean ± standard deviation over seeds of the representative value (75th percentile over the "
        "plateau), and the mean's 95% interval for new seeds on these images. * not every plateau was "
        "reached.",
        columns,
        labelled(data, labels),
    )


def slope_table(slopes: pd.DataFrame, metrics: Iterable[Metric], labels: Labels) -> Table:
    """Slopes over the data ratio of some metrics (paper, Table 2)."""
    chosen = slopes[slopes["metric"].isin([metric.name for metric in metrics])]
    return Table(
        "table2",
        "Robustness: slopes over the amount of training data (paper: Table 2)",
        "As the paper's, of representative values: A of metric = A r + b by least squares, r in (0, 1], in "
        "the metric's unit; A's 95% interval is Student's of the slopes of each seed, for new seeds on these "
        "images. The closer A is to 0, the less the process depends on the amount of data.",
        [
            PROCESS,
            METRIC,
            tables.estimate("slope A", 3, mean="slope", error=None),
            tables.number("intercept", "intercept b", 3),
            tables.number("n", "points", 0),
            tables.number("ratios", "ratios", 0),
            tables.number("seeds", "seeds", 0),
        ],
        labelled(chosen, labels),
    )


def slope_test_table(tests: pd.DataFrame, labels: Labels) -> Table:
    """Tests between slopes.

    Args:
        tests: of `analysis.statistics.robustness.slope_tests`, with a column `metric`.
        labels: of the processes.
    """
    return Table(
        "slope_tests",
        "Differences between slopes",
        "Of the plateau's means: slope of each seed, process minus the one against it; max-T over all pairs "
        "of a metric, with the 95% intervals that agree with it: for new seeds on these images. Pairs that "
        "share no seed at two amounts of data are left out.",
        [
            METRIC,
            *PAIR,
            tables.estimate(
                "difference of A", 3, mean="difference", error=None, low="all_low", high="all_high"
            ),
            tables.number("n", "seeds", 0),
            tables.p_value("p_max_t", "p, max-T"),
        ],
        labelled_pairs(tests[tests["n"] > 0], labels),
    )


def estimates(
    metrics: Iterable[Metric], *, digits: int | None = None, mark: str | None = None
) -> list[Column]:
    """One column per metric, of data with METRIC_mean, _std, _ci_low and _ci_high.

    Args:
        metrics: in the order of the columns.
        digits: decimal places; the metric's unless given.
        mark: name of what is written after each mean, or None.
    """
    return [
        tables.estimate(
            metric.short_heading,
            metric.digits if digits is None else digits,
            scale=metric.scale,
            mean=f"{metric.name}_mean",
            error=f"{metric.name}_std",
            low=f"{metric.name}_ci_low",
            high=f"{metric.name}_ci_high",
            mark=mark,
        )
        for metric in metrics
    ]


def in_order(data: pd.DataFrame, labels: Labels, *then_by: str) -> pd.DataFrame:
    """Rows by process in the order of the labels, then by the columns named."""
    places = {process: place for place, process in enumerate(labels)}
    return data.sort_values(
        ["process", *then_by], key=lambda column: column.map(places) if column.name == "process" else column
    )


def labelled(data: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """With a column `label` for the column `process`."""
    return data.assign(label=data["process"].map(dict(labels)))


def labelled_pairs(data: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """With columns `a` and `b` for the labels of `process_a` and `process_b`."""
    return data.assign(a=data["process_a"].map(dict(labels)), b=data["process_b"].map(dict(labels)))
