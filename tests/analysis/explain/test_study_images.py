"""Places spread over the evaluation set."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.explain.study_images import evenly_spread


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        (7, 4, [0, 2, 4, 6]),
        (10, 3, [0, 4, 9]),
        (3, 8, [0, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (9, 1, [0]),
        (1, 1, [0]),
    ],
)
def test_places_are_spread_from_the_first_to_the_last(length: int, count: int, expected: list[int]) -> None:
    places = evenly_spread(length, count)
    assert places.tolist() == expected
    assert places.dtype == np.int64


def test_as_many_places_as_asked_for_and_each_once() -> None:
    for length in (20, 57, 560):
        for count in range(2, length):
            places = evenly_spread(length, count)
            assert len(set(places.tolist())) == count
            assert (places[0], places[-1]) == (0, length - 1)
