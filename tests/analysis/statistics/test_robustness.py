"""Slopes over the data ratio: numbers worked by hand, and scipy's linregress and t test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.comparison import compare
from analysis.statistics.robustness import at_ratios, slope_tests, slopes
from stages.errors import RelayError

RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


def line(
    process: str, values: list[float], ratios: tuple[float, ...] = RATIOS, seed: int = 0
) -> pd.DataFrame:
    rows = {"process": process, "seed": seed, "data_ratio": ratios, "accuracy_p75": values}
    return pd.DataFrame(rows)


def random_runs(processes: int = 3, seeds: int = 5) -> pd.DataFrame:
    """Noisy lines, a point a seed and ratio, and sources."""
    generator = np.random.default_rng(8)
    parts = []
    for process in range(processes):
        for seed in range(seeds):
            values = 0.6 + 0.1 * process * np.array(RATIOS) + generator.normal(0, 0.02, 5)
            part = line(f"process_{process}", list(values), seed=seed)
            part["cross_entropy_p75"] = 2 - values + generator.normal(0, 0.1, 5)
            parts.append(part)
    sources = line("x", [0.1] * 5).assign(process=None, cross_entropy_p75=9.0)
    return pd.concat([*parts, sources], ignore_index=True)


def test_a_line_by_hand() -> None:
    """Mean r 0.625, Sxx 0.3125, mean y 0.8, Sxy -0.175: slope -0.56; squared residuals 0.042, s^2 0.021."""
    ratios, losses = (0.25, 0.5, 0.75, 1.0), [1.0, 0.8, 0.9, 0.5]
    runs = line("mine", losses, ratios).rename(columns={"accuracy_p75": "cross_entropy_p75"})
    (row,) = slopes(runs).to_dict("records")
    assert row["slope"] == pytest.approx(-0.56)
    assert row["intercept"] == pytest.approx(1.15)
    assert row["stderr"] == pytest.approx((0.021 / 0.3125) ** 0.5)
    assert np.isnan([row["ci_low"], row["ci_high"]]).all(), "one seed does not show how slopes vary"
    assert (row["n"], row["ratios"], row["seeds"]) == (4, 4, 1)


def test_accuracy_in_percent() -> None:
    (row,) = slopes(line("mine", [0.6 + 0.3 * ratio for ratio in RATIOS])).to_dict("records")
    assert (row["slope"], row["intercept"]) == pytest.approx((30.0, 60.0))
    assert row["stderr"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "factor"),
    [
        ("accuracy", 100),
        ("precision_macro", 100),
        ("recall_weighted", 100),
        ("f1_score_macro", 100),
        ("calibration_error", 100),
        ("cross_entropy", 1),
        ("train_loss", 1),
        ("something_else", 1),
    ],
)
def test_fractions_in_percent_and_losses_as_they_are(metric: str, factor: int) -> None:
    values = [0.3, 0.5, 0.45, 0.6, 0.7]
    runs = line("mine", values).rename(columns={"accuracy_p75": f"{metric}_p75"})
    assert slopes(runs)["slope"].item() == pytest.approx(factor * stats.linregress(RATIOS, values).slope)


def test_all_points_of_a_process_as_linregress_has_them() -> None:
    runs = random_runs()
    found = slopes(runs.sample(frac=1.0, random_state=1))
    assert list(found.columns[:5]) == ["process", "metric", "slope", "stderr", "intercept"]
    assert len(found) == 6
    for row in found.to_dict("records"):
        points = runs[runs["process"] == row["process"]]
        factor = 100 if row["metric"] == "accuracy" else 1
        expected = stats.linregress(points["data_ratio"], factor * points[f"{row['metric']}_p75"])
        for name in ("slope", "stderr", "intercept"):
            assert row[name] == pytest.approx(getattr(expected, name), rel=1e-9)
        of_seeds = [
            stats.linregress(each["data_ratio"], factor * each[f"{row['metric']}_p75"]).slope
            for _, each in points.groupby("seed")
        ]
        interval = stats.ttest_1samp(of_seeds, 0.0).confidence_interval()
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
        assert (row["n"], row["ratios"], row["seeds"]) == (25, 5, 5)


def test_seeds_of_unequal_level_do_not_widen_the_slopes_interval() -> None:
    """Slopes 28, 30 and 32 of seeds at 20, 50 and 80%: the interval is that of three slopes."""
    parts = [
        line("mine", [level + slope * ratio for ratio in RATIOS], seed=seed)
        for seed, (level, slope) in enumerate([(0.2, 0.28), (0.5, 0.3), (0.6, 0.32)])
    ]
    (row,) = slopes(pd.concat([*parts, line("mine", [0.9], (1.0,), seed=3)])).to_dict("records")
    half = 4.302652729911275 * 2 / 3**0.5  # t(0.975, 2) from a table
    assert row["slope"] == pytest.approx(30.0), "the seed with one ratio has no slope"
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((30 - half, 30 + half))


def test_one_ratio_has_no_slope_and_two_points_no_error() -> None:
    runs = pd.concat(
        [line("one", [0.5], (1.0,)), line("one", [0.6], (1.0,), seed=1), line("two", [0.5, 0.6], (0.5, 1.0))]
    )
    found = slopes(runs).set_index("process")
    assert found.loc["one", ["slope", "stderr", "intercept", "ci_low", "ci_high"]].isna().all()
    assert found.loc["one", "n"] == 2 and found.loc["one", "ratios"] == 1
    assert found.loc["two", ["slope", "intercept"]].tolist() == pytest.approx([20.0, 40.0])
    assert found.loc["two", ["stderr", "ci_low", "ci_high"]].isna().all()


def test_missing_cells_do_not_count() -> None:
    runs = line("mine", [0.5, np.nan, 0.6, 0.8, 0.75])
    (row,) = slopes(runs.drop(columns="seed")).to_dict("records")
    expected = stats.linregress([0.2, 0.6, 0.8, 1.0], [50.0, 60.0, 80.0, 75.0])
    assert row["slope"] == pytest.approx(expected.slope) and row["stderr"] == pytest.approx(expected.stderr)
    assert (row["n"], row["ratios"]) == (4, 4) and np.isnan(row["seeds"])


def test_two_configurations_in_one_table_are_refused() -> None:
    runs = pd.concat([line("mine", [0.5] * 5), line("mine", [0.6], (0.4,))]).assign(id=list("abcdef"))
    for compute in (
        slopes,
        lambda runs: slope_tests(runs, "accuracy"),
        lambda runs: at_ratios(runs, "accuracy"),
    ):
        with pytest.raises(RelayError, match=r"process mine, seed 0, data_ratio 0\.4 \(b, f\)"):
            compute(runs)


def test_nothing_to_fit_is_an_empty_table() -> None:
    runs = line("x", [0.1] * 5).assign(process=None)
    assert slopes(runs).empty and "stderr" in slopes(runs)
    assert slope_tests(runs, "accuracy").empty and at_ratios(runs, "accuracy").empty


# tests between slopes


def slopes_by_seed(runs: pd.DataFrame, process: str, factor: float) -> list[float]:
    of_process = runs[runs["process"] == process].dropna()
    return [
        stats.linregress(points["data_ratio"], factor * points["accuracy_p75"]).slope
        for _, points in of_process.groupby("seed")
    ]


def test_slopes_are_compared_as_by_a_paired_t_test_of_each_seeds() -> None:
    runs = random_runs()
    found = slope_tests(runs.sample(frac=1.0, random_state=3), "accuracy")
    assert list(found.columns[:7]) == ["process_a", "process_b", "difference", "stderr", "p", "p_holm", "n"]
    for row in found.to_dict("records"):
        a, b = (slopes_by_seed(runs, row[name], 100) for name in ("process_a", "process_b"))
        expected = stats.ttest_rel(a, b)
        interval = expected.confidence_interval(0.95)
        assert row["difference"] == pytest.approx(np.mean(a) - np.mean(b))
        assert row["stderr"] == pytest.approx(stats.sem(np.subtract(a, b)))
        assert row["p"] == pytest.approx(expected.pvalue)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
        assert row["n"] == 5
    by_size = found.sort_values("p")
    assert by_size["p_holm"].iloc[0] == pytest.approx(3 * by_size["p"].iloc[0])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.1, 1.0), min_size=40, max_size=40))
def test_the_mean_difference_is_that_of_the_pooled_slopes(values: list[float]) -> None:
    """With every cell there, least squares over all points has the mean of the seeds' slopes."""
    parts = [
        line(process, values[10 * start : 10 * start + 5], seed=start % 2)
        for start, process in enumerate(["a", "a", "b", "b"])
    ]
    runs = pd.concat(parts)
    pooled = slopes(runs).set_index("process")["slope"]
    assert slope_tests(runs, "accuracy")["difference"].item() == pytest.approx(
        pooled["a"] - pooled["b"], abs=1e-8
    )


def test_only_ratios_that_both_have() -> None:
    """Over curved data, slopes over different ratios differ; over the same ratios these two are parallel."""
    curve = [0.5, 0.7, 0.8, 0.85, 0.86]
    parts = []
    for seed in range(3):
        parts.append(line("a", curve, seed=seed))
        parts.append(line("b", [value - 0.3 for value in curve[2:]], RATIOS[2:], seed=seed))
    (row,) = slope_tests(pd.concat(parts), "accuracy").to_dict("records")
    assert row["difference"] == row["stderr"] == 0.0
    assert row["p"] == row["p_holm"] == 1.0
    assert row["n"] == 3


def test_a_seed_counts_with_two_common_ratios_or_more() -> None:
    """Process 1 lacks all ratios but one at seed 2, and all but two at seed 3."""
    runs = random_runs(2)
    lost = (runs["seed"] == 2) & (runs["data_ratio"] < 1) | (runs["seed"] == 3) & (runs["data_ratio"] < 0.7)
    (row,) = slope_tests(runs[~lost | (runs["process"] != "process_1")], "accuracy").to_dict("records")
    common = runs[~lost & (runs["seed"] != 2)]
    expected = stats.ttest_rel(*(slopes_by_seed(common, f"process_{index}", 100) for index in (0, 1)))
    assert row["n"] == 4
    assert row["p"] == pytest.approx(expected.pvalue)


def test_one_seed_gives_a_difference_and_no_test() -> None:
    runs = pd.concat([line("a", [0.5, 0.6, 0.7, 0.8, 0.9]), line("b", [0.5] * 5)])
    (row,) = slope_tests(runs, "accuracy").to_dict("records")
    assert row["difference"] == pytest.approx(50.0) and row["n"] == 1
    assert np.isnan([row["stderr"], row["p"], row["p_holm"], row["ci_low"]]).all()


def test_differences_without_spread_are_certain() -> None:
    parts = [line(name, [at + 0.5 * r for r in RATIOS] if name == "a" else [at] * 5, seed=seed)
             for seed, at in enumerate((0.25, 0.5)) for name in ("a", "b")]  # fmt: skip
    (row,) = slope_tests(pd.concat(parts), "accuracy").to_dict("records")
    assert row["difference"] == pytest.approx(50.0) and row["p"] == 0.0


def test_no_common_seed_is_not_tested() -> None:
    runs = pd.concat([line("a", [0.5] * 5, seed=0), line("b", [0.5] * 5, seed=1)])
    (row,) = slope_tests(runs, "accuracy").to_dict("records")
    assert row["n"] == 0 and np.isnan([row["difference"], row["stderr"], row["p"]]).all()


def test_unknown_metric_and_different_targets_are_refused() -> None:
    runs = pd.concat([line("a", [0.5] * 5), line("b", [0.5] * 5)])
    for compute in (slope_tests, at_ratios):
        with pytest.raises(RelayError, match="'loss' in these runs; there are: accuracy"):
            compute(runs, "loss")
    with pytest.raises(RelayError, match="several targets"):
        slope_tests(runs.assign(stage=["x"] * 5 + ["y"] * 5), "accuracy")


# the bars of Figure 6


def test_each_ratio_as_compare_has_the_whole() -> None:
    runs = random_runs()
    found = at_ratios(runs.sample(frac=1.0, random_state=4), "accuracy")
    assert list(found.columns) == ["process", "data_ratio", "mean", "std", "n", "ci_low", "ci_high"]
    assert found["data_ratio"].tolist() == [*RATIOS] * 3
    for row in found.to_dict("records"):
        cell = runs[(runs["process"] == row["process"]) & (runs["data_ratio"] == row["data_ratio"])]
        assert row["mean"] == pytest.approx(cell["accuracy_p75"].mean())
        assert row["std"] == pytest.approx(cell["accuracy_p75"].std())
        assert row["n"] == 5
    whole = compare(runs[["process", "seed", "data_ratio", "accuracy_p75"]]).drop(columns="metric")
    ends = found[found["data_ratio"] == 1.0].drop(columns="data_ratio").reset_index(drop=True)
    pd.testing.assert_frame_equal(ends, whole)
