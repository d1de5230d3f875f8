"""Similarity of layers: means over a study, worked by hand or with the formula written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.explain.arrays import Arrays
from analysis.report.explanations.layers import between_processes, layer_similarity, mean_table


def _gram(seed: int) -> Any:
    features = np.random.default_rng(seed).normal(size=(8, 5))
    return features @ features.T


def _unbiased_cka(first: Any, second: Any) -> float:
    """Nguyen et al. 2021, Eq. 3, written out."""
    n = len(first)
    one = np.ones(n)

    def hsic(left: Any, right: Any) -> float:
        left, right = left - np.diag(np.diag(left)), right - np.diag(np.diag(right))
        total = np.trace(left @ right) + one @ left @ one * (one @ right @ one) / ((n - 1) * (n - 2))
        return float(total - 2 / (n - 2) * (one @ left @ right @ one)) / (n * (n - 3))

    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


def test_layers_are_compared_with_those_of_the_same_name() -> None:
    first, second = {"x": _gram(0), "y": _gram(1)}, {"y": _gram(2), "x": _gram(3)}
    found = {row["layer"]: row["cka"] for row in layer_similarity(first, second)}
    assert found == pytest.approx(
        {"x": _unbiased_cka(_gram(0), _gram(3)), "y": _unbiased_cka(_gram(1), _gram(2))}
    )
    same = layer_similarity(first, {name: 4.0 * gram for name, gram in first.items()})
    assert [row["cka"] for row in same] == pytest.approx([1.0, 1.0])


def test_processes_are_compared_at_equal_seeds_only() -> None:
    grams: dict[tuple[str, int], Arrays] = {
        ("a", 0): {"x": _gram(0)},
        ("a", 1): {"x": _gram(1)},
        ("b", 1): {"x": _gram(2)},
        ("b", 0): {"x": _gram(3)},
        ("c", 7): {"x": _gram(4)},
    }
    table = between_processes(grams)
    (row,) = table.to_dict("records")
    assert (row["process_a"], row["process_b"], row["layer"]) == ("a", "b", "x")
    expected = (_unbiased_cka(_gram(0), _gram(3)) + _unbiased_cka(_gram(1), _gram(2))) / 2
    assert row["cka"] == pytest.approx(expected)


def test_processes_without_a_common_seed_give_an_empty_table() -> None:
    table = between_processes({("a", 0): {"x": _gram(0)}, ("b", 1): {"x": _gram(1)}})
    assert table.empty
    assert list(table.columns) == ["process_a", "process_b", "layer", "cka"]


def test_rows_that_agree_are_averaged_in_the_order_they_come() -> None:
    rows = [
        {"who": "z", "where": "b", "much": 1.0},
        {"who": "a", "where": "b", "much": 5.0},
        {"who": "z", "where": "b", "much": 2.0},
        {"who": "z", "where": "a", "much": 7.0},
    ]
    table = mean_table(rows, ["who", "where"], "much")
    assert table.to_dict("split", index=False)["data"] == [["z", "b", 1.5], ["a", "b", 5.0], ["z", "a", 7.0]]
