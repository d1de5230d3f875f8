"""A set's classes as the networks call them: mapped, matched with a note, left out, or refused."""

from __future__ import annotations

import pytest

from analysis.prediction.evaluation.class_names import match, parsed
from stages.errors import RelayError

OURS = ("CON", "GGO", "ground glass", "Normal_Lung")


def test_given_names_go_before_equal_ones_and_spellings_are_noted() -> None:
    found = match(["normal-lung", "GGO", "Ground_Glass", "odd"], OURS, parsed("odd:none,GGO:CON"), "the set")
    assert found.label_of == {"normal-lung": 3, "GGO": 0, "Ground_Glass": 2, "odd": None}
    spelled, typed = found.notes
    assert "normal-lung is Normal_Lung" in spelled and "Ground_Glass is ground glass" in spelled
    assert typed == "classes as typed: GGO is CON"
    assert match(["CON"], OURS, {}, "the set").notes == ()


def test_the_last_colon_parts_and_blanks_do_not_count() -> None:
    assert parsed(" a:b : CON , c:GGO,") == {"a:b": "CON", "c": "GGO"}
    assert parsed(None) == {}


@pytest.mark.parametrize(
    ("theirs", "given", "message"),
    [
        (
            ["CON", "consolidation"],
            "",
            "1 class that the networks do not know: consolidation.*consolidation:none",
        ),
        (["CON", "NOD"], "", "classes=NOD:.*classes=NOD:none"),
        (["CON"], "CNO:CON", "'CNO', which is no class of the set; it has CON. Did you mean CON"),
        (["CON"], "CON:GGG", "'GGG', which is no class of the networks.*Did you mean GGO"),
        (["CON"], "CON:none", "leaves every class out"),
        (["CON"], "CON", "write THEIRS:OURS"),
        (["CON"], "CON:", "write THEIRS:OURS"),
        (["CON"], "CON:GGO,CON:CON", "names 'CON' twice"),
    ],
)
def test_what_cannot_be_right_is_refused(theirs: list[str], given: str, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        match(theirs, OURS, parsed(given), "the set")


def test_two_spellings_of_one_class_are_both_it() -> None:
    assert match(["ggo", "GGO"], OURS, {}, "the set").label_of == {"ggo": 1, "GGO": 1}
