"""Tables of the comparison and of the robustness (paper, Tables 1 and 2)."""

from collections.abc import Iterable, Mapping

import pandas as pd

from analysis.report import tables
from analysis.report.tables import Column, Table
from analysis.runs.selection import is_fraction, scale_of

Labels = Mapping[str, str]

MAIN_METRICS = {
    "accuracy": "accuracy (%)",
    "precision_macro": "precision (%)",
    "recall_macro": "recall (%)",
    "f1_score_macro": "F1 (%)",
    "cross_entropy": "cross-entropy",
}
"""Those of the paper's Table 1, macro averages, and the loss of its Figure 6."""

PROCESS = tables.text("label", "process")
METRIC = tables.text("metric", "metric", name=tables.metric_name)
PAIR = (tables.text("a", "process"), tables.text("b", "against"))


def table_1(comparison: pd.DataFrame, runs: pd.DataFrame, labels: Labels) -> Table:
    """Mean, deviation and interval of the main metrics of each process (paper, Table 1).

    Args:
        comparison: of `analysis.statistics.comparison.compare`.
        runs: the study's runs.
        labels: of the processes, in order.
    """
    whole = runs[runs["data_ratio"] == 1.0]
    reached = whole.groupby("process")["plateau_reached"].agg(["sum", "count"])
    metrics = [name for name in MAIN_METRICS if name in set(comparison["metric"])]
    rows = []
    for process in comparison["process"].unique():
        of_process = comparison[comparison["process"] == process].set_index("metric")
        plateaus, number = reached.loc[process]
        row = {"label": labels[process], "process": process, "seeds": number, "plateaus_reached": plateaus}
        row["mark"] = "" if plateaus == number else " *"
        for metric in metrics:
            for part in ("mean", "std", "ci_low", "ci_high"):
                row[f"{metric}_{part}"] = of_process.loc[metric, part]
        rows.append(row)
    columns = [PROCESS, *_estimates(metrics)]
    columns += [tables.number("seeds", "seeds", 0), tables.number("plateaus_reached", "plateaus reached", 0)]
    return Table(
        "table1",
        "Performance with all training data (Table 1)",
        "Mean ± standard deviation over seeds of the representative value (75th percentile over the "
        "plateau), and the mean's 95% t interval. Precision, recall and F1 are macro averages. * not every "
        "plateau was reached.",
        columns,
        pd.DataFrame(rows, columns=[*rows[0]] if rows else ["label"]),
    )


def all_metrics(comparison: pd.DataFrame, labels: Labels) -> Table:
    """Every metric of every process."""
    return Table(
        "metrics",
        "All metrics with all training data",
        "Fractions are in [0, 1], losses in nats; representative values, over seeds.",
        [
            PROCESS,
            METRIC,
            tables.number("mean", "mean", 4),
            tables.number("std", "standard deviation", 4),
            tables.number("ci_low", "95% from", 4),
            tables.number("ci_high", "to", 4),
            tables.number("n", "seeds", 0),
        ],
        labelled(comparison, labels),
    )


def pairwise_table(pairs: pd.DataFrame, labels: Labels) -> Table:
    """The tests between processes for the accuracy."""
    return Table(
        "pairwise_accuracy",
        "Differences in accuracy between processes",
        "In percentage points, process minus the one against it, with the 95% paired t interval; Wilcoxon's "
        "signed-rank test paired by seed, Holm-corrected for all rows; the effect is the matched-pairs "
        "rank-biserial correlation, 1 if the process is better at every seed. The last column is the "
        "smallest corrected p that so few pairs allow.",
        [*PAIR, _difference(100.0, 2), *_test_columns()],
        labelled_pairs(pairs, labels),
    )


def all_pairwise_table(pairs: pd.DataFrame, labels: Labels) -> Table:
    """The tests between processes for every main metric; the p values are corrected within a metric."""
    return Table(
        "pairwise",
        "Differences in every metric",
        "As above; fractions in [0, 1], the loss in nats. For the loss an effect above 0 is the worse side. "
        "Holm's correction is over the pairs of one metric.",
        [METRIC, *PAIR, _difference(1.0, 4), *_test_columns()],
        labelled_pairs(pairs, labels),
    )


def ratio_table(at_ratios: pd.DataFrame, labels: Labels, unreached: set[tuple[str, float]]) -> Table:
    """Accuracy and loss at each data ratio: the numbers of Figure 6.

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
    metrics = [name for name in ("accuracy", "cross_entropy") if f"{name}_mean" in data]
    columns = [PROCESS, tables.number("data_ratio", "training images (%)", 0, scale=100.0)]
    columns += _estimates(metrics)
    columns += [tables.number(f"{metrics[0]}_n", "seeds", 0)] if metrics else []
    return Table(
        "ratios",
        "Accuracy and loss at each amount of training data",
        "Mean ± standard deviation over seeds of the representative value, and the mean's 95% t interval. "
        "* not every plateau was reached.",
        columns,
        labelled(data, labels),
    )


def slope_table(slopes: pd.DataFrame, labels: Labels) -> Table:
    """Slopes of accuracy and loss over the data ratio (paper, Table 2)."""
    chosen = slopes[slopes["metric"].isin(["accuracy", "cross_entropy"])]
    return Table(
        "table2",
        "Robustness: slopes over the amount of training data (Table 2)",
        "A of metric = A r + b by least squares, r in (0, 1]; accuracy in percentage points, the loss in "
        "nats. A ± its standard error, and A's 95% interval, both as if all points were independent. The "
        "closer A is to 0, the less the process depends on the amount of data.",
        [
            PROCESS,
            METRIC,
            tables.estimate("slope A", 3, mean="slope", error="stderr"),
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
        "Paired t test of the slopes of each seed, process minus the one against it; Holm-corrected for the "
        "pairs of one metric. Pairs that share no seed at two amounts of data are left out.",
        [
            METRIC,
            *PAIR,
            tables.estimate("difference of A", 3, mean="difference", error="stderr"),
            tables.number("n", "seeds", 0),
            tables.p_value("p", "p"),
            tables.p_value("p_holm", "p, Holm"),
        ],
        labelled_pairs(tests[tests["n"] > 0], labels),
    )


def _estimates(metrics: Iterable[str]) -> list[Column]:
    """A column a metric, of data with METRIC_mean, _std, _ci_low, _ci_high, and `mark`."""
    return [
        tables.estimate(
            MAIN_METRICS[metric],
            2 if is_fraction(metric) else 3,
            scale=scale_of(metric),
            mean=f"{metric}_mean",
            error=f"{metric}_std",
            low=f"{metric}_ci_low",
            high=f"{metric}_ci_high",
            mark="mark",
        )
        for metric in metrics
    ]


def _test_columns() -> list[Column]:
    return [
        tables.number("n", "pairs", 0),
        tables.p_value("p", "p"),
        tables.p_value("p_holm", "p, Holm"),
        tables.number("effect", "effect", 2, sign=True),
        tables.p_value("smallest_p_holm", "smallest p, Holm"),
    ]


def _difference(scale: float, digits: int) -> Column:
    return tables.estimate("difference", digits, scale=scale, mean="mean_difference", error=None)


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
