"""The answer in words: what is claimed, and what is not, of intervals and p worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from analysis.report import sentences
from analysis.report.judgement import Words, companion
from analysis.statistics.inference import Inference
from stages.metrics import METRICS

ACCURACY, F1, LOSS = (METRICS[name] for name in ("accuracy", "f1_score_macro", "cross_entropy"))
LABELS = {"scratch": "(1) scratch", "natural": "(3) natural", "two_stage": "(4) two_stage"}


def level(process: str, mean: float, metric: str = "accuracy", **changes: Any) -> dict[str, Any]:
    row = {"process": process, "metric": metric, "mean": mean, "n": 8, "covers": "seeds and patients"}
    return row | {"ci_low": mean - 0.02, "ci_high": mean + 0.01} | changes


def pair(a: str, b: str, difference: float, metric: str = "accuracy", **changes: Any) -> dict[str, Any]:
    """An interval of 1 point on either side by itself, of 1.5 for all pairs."""
    row: dict[str, Any] = {"process_a": a, "process_b": b, "metric": metric, "n": 8, "difference": difference}
    row |= {"ci_low": difference - 0.01, "ci_high": difference + 0.01, "covers": "seeds and patients"}
    row |= {"together_low": difference - 0.015, "together_high": difference + 0.015}
    row |= {"p_max_t": 0.0078125, "smallest_p_max_t": 0.0078125, "p75_difference": difference}
    return row | {"by_patient": difference} | changes


def words(
    levels: list[dict[str, Any]], pairs: list[dict[str, Any]], groups: int = 20, **changes: Any
) -> Words:
    columns = {"levels": pd.DataFrame(levels), "differences": pd.DataFrame(pairs)}
    empty = {"by_seed": pd.DataFrame(), "recall": pd.DataFrame()}
    inference = Inference(**columns, **empty, samples=100, groups=groups, without_group=0)
    labels = {name: label for name, label in LABELS.items() if name in set(columns["levels"]["process"])}
    return Words(
        **{"inference": inference, "metric": ACCURACY, "companion": None, "labels": labels} | changes
    )


def two(difference: float = 0.02, groups: int = 20, **changes: Any) -> Words:
    levels = [level("scratch", 0.9), level("two_stage", 0.92)]
    return words(levels, [pair("scratch", "two_stage", -difference, **changes)], groups)


def test_a_difference_that_holds_for_new_seeds_and_patients() -> None:
    first, verdict, method = sentences.headline(two())
    assert first == (
        "(4) two_stage has the highest mean accuracy with all training data, 92.0%; its difference from "
        "(1) scratch, the next, is +2.0 percentage points (+0.5 to +3.5): different."
    )
    assert verdict == (
        "Of (4) two_stage and (1) scratch: It keeps its sign for new seeds and for other patients like "
        "these, at 95%. Over seeds alone, on these patients, p = 0.008 (max-T)."
    )
    assert "95% intervals for new seeds and new patients" in method
    assert method.count("75th percentile") == 1 and "no third set" in method


@pytest.mark.parametrize(
    ("changes", "said", "not_said"),
    [
        (
            {"difference": 0.005},
            "The seeds agree on these patients, but other patients could",
            "keeps its sign",
        ),
        (
            {"difference": 0.005, "p_max_t": 0.3},
            "Which of the two is better for new seeds and new patients is not shown",
            "keeps its sign",
        ),
        (
            {"difference": 0.012},
            "(the interval of this pair by itself excludes 0, but it was picked out of 1)",
            "keeps its sign",
        ),
        ({"covers": "patients"}, "keep this order of the two networks is shown; other seeds may not", "p ="),
        (
            {"covers": "seeds"},
            "support that it is better on these images, and say nothing of others",
            "patients l",
        ),
        ({"covers": ""}, "Without an interval this shows nothing", "keeps its sign"),
        ({"n": 0}, "the two share no seed", "keeps its sign"),
        (
            {"n": 4, "p_max_t": 0.125, "smallest_p_max_t": 0.125},
            "p = 0.125 (max-T); 4 seeds cannot give a p below 0.12",
            "pairs",
        ),
    ],
)
def test_what_is_claimed_follows_the_interval(changes: dict[str, Any], said: str, not_said: str) -> None:
    text = " ".join(sentences.headline(two(**changes))[:2])
    assert said in text and not_said not in text


def test_nothing_is_said_of_patients_where_groups_are_images() -> None:
    for text in [
        *sentences.headline(two(groups=100)),
        *(s.text for s in sentences.process_sentences(two(groups=100))),
    ]:
        assert "patient" not in text
    assert "for other images like these" in sentences.headline(two(groups=100))[1]


def test_lower_is_better_where_it_is() -> None:
    levels = [level("scratch", 0.3, LOSS.name), level("two_stage", 0.4, LOSS.name)]
    first = sentences.headline(words(levels, [pair("scratch", "two_stage", -0.1, LOSS.name)], metric=LOSS))[0]
    assert first.startswith(
        "(1) scratch has the lowest mean cross-entropy with all training data, 0.300; its"
    )
    assert "is \N{MINUS SIGN}0.100 nats (\N{MINUS SIGN}0.115 to \N{MINUS SIGN}0.085)" in first


def test_each_process_against_the_best_other_one() -> None:
    levels = [level("scratch", 0.9, n=1, covers="patients"), level("natural", 0.91), level("two_stage", 0.92)]
    pairs = [
        pair("scratch", "natural", -0.01),
        pair("scratch", "two_stage", -0.01, covers="patients", p75_difference=0.004),
        pair("natural", "two_stage", -0.02),
    ]
    found = [each.text for each in sentences.process_sentences(words(levels, pairs))]
    minus = "\N{MINUS SIGN}"
    assert found == [
        "reached 90.0% accuracy (88.0% to 91.0% for new patients, the networks fixed; one seed); its "
        f"difference from (4) two_stage, the highest mean, is {minus}1.0 percentage points ({minus}2.5 to "
        "+0.5 for new patients, the networks fixed): different for new seeds on these patients, not shown "
        "for new patients; of the 75th percentiles it is +0.4 percentage points, the reverse.",
        "reached 91.0% accuracy (89.0% to 92.0%; 8 seeds); its difference from (4) two_stage, the highest "
        f"mean, is {minus}2.0 percentage points ({minus}3.5 to {minus}0.5): different.",
        "reached 92.0% accuracy (90.0% to 93.0%; 8 seeds); its difference from (3) natural, the next, is "
        "+2.0 percentage points (+0.5 to +3.5): different.",
    ]


def test_three_pairs_are_corrected_for_and_said_to_be() -> None:
    levels = [level("scratch", 0.9), level("natural", 0.91), level("two_stage", 0.92)]
    pairs = [
        pair(*names, -0.01)
        for names in (("scratch", "natural"), ("scratch", "two_stage"), ("natural", "two_stage"))
    ]
    _, verdict, method = sentences.headline(words(levels, pairs))
    assert "(max-T of all 3 pairs)" in verdict and "corrected for all 3 pairs" in method


def reversal(*pairs: dict[str, Any], levels: list[dict[str, Any]] | None = None) -> str:
    levels = levels or [level("scratch", 0.9), level("two_stage", 0.92)]
    found = [
        text for text in sentences.headline(words(levels, list(pairs))) if text.startswith("Not everything")
    ]
    return found[0] if found else ""


def test_reversed_signs_are_said() -> None:
    """Between p75 and mean, metrics, patients and images, paired and unpaired seeds."""
    assert reversal(pair("scratch", "two_stage", -0.02), pair("scratch", "two_stage", -0.1, F1.name)) == ""
    assert reversal(pair("scratch", "two_stage", -0.02), pair("scratch", "two_stage", 0.1, LOSS.name)) == ""
    of_p75 = reversal(pair("scratch", "two_stage", -0.02, p75_difference=0.003))
    assert (
        "by the 75th percentiles" in of_p75
        and "\N{MINUS SIGN}0.3 percentage points instead of +2.0" in of_p75
    )
    of_metrics = reversal(
        pair("scratch", "two_stage", -0.02),
        pair("scratch", "two_stage", 0.01, F1.name),
        pair("scratch", "two_stage", -0.2, LOSS.name),
    )
    assert (
        "in macro F1 (\N{MINUS SIGN}1.0 percentage points) and in cross-entropy (+0.200 nats)" in of_metrics
    )
    of_patients = reversal(pair("scratch", "two_stage", -0.02, by_patient=0.01))
    assert "with every patient counted once" in of_patients
    paired = reversal(pair("scratch", "two_stage", 0.01, n=3))
    assert (
        "on the 3 seeds that both have, the second is better (\N{MINUS SIGN}1.0 percentage points)" in paired
    )


def test_a_sign_that_is_not_seen_reverses_nothing() -> None:
    """0.04 points are shown as 0.0; 0.06 as 0.1."""
    pairs = [pair("scratch", "two_stage", -0.02, p75_difference=0.0004, by_patient=0.0004)]
    pairs.append(pair("scratch", "two_stage", 0.0004, F1.name))
    assert reversal(*pairs) == ""
    levels = [level("scratch", 0.9), level("two_stage", 0.92)]
    assert not any("reverse" in each.text for each in sentences.process_sentences(words(levels, pairs)))
    seen = reversal(pair("scratch", "two_stage", -0.02, p75_difference=0.0006, by_patient=math.nan))
    assert "\N{MINUS SIGN}0.1 percentage points instead" in seen and "patient" not in seen


def test_unbalanced_classes_have_two_metrics_in_the_answer() -> None:
    assert companion(ACCURACY, [30, 20, 0]) is None  # 1.5 times; a class without images does not count
    assert companion(ACCURACY, [31, 20, 0]) == F1
    assert companion(F1, [31, 20]) == companion(LOSS, [31, 20]) == ACCURACY
    assert companion(ACCURACY, []) is None
    levels = [level("scratch", 0.9), level("two_stage", 0.92)]
    levels += [level("scratch", 0.8, F1.name), level("two_stage", 0.75, F1.name)]
    pairs = [pair("scratch", "two_stage", -0.02), pair("scratch", "two_stage", 0.05, F1.name)]
    said = words(levels, pairs, companion=F1)
    assert (
        "The classes are unbalanced, so macro F1 stands beside accuracy: in it (1) scratch is best, with "
        "80.0% against 75.0% of (4) two_stage." in sentences.headline(said)
    )
    assert "92.0% (macro F1 75.0%);" in sentences.headline(said)[0]
    assert sentences.process_sentences(said)[0].text.startswith(
        "reached 90.0% accuracy (88.0% to 91.0%; 8 seeds), and 80.0% macro F1 (78.0% to 81.0%);"
    )


def test_a_test_set_that_is_kept_apart_is_said() -> None:
    levels = [level("scratch", 0.9), level("two_stage", 0.92)]
    method = sentences.headline(words(levels, [pair("scratch", "two_stage", -0.02)], test_set=True))[-1]
    assert "a test set is kept apart" in method and "no third set" not in method


def test_a_pair_is_told_from_its_process_whichever_stands_first() -> None:
    said = two(p75_difference=-0.03, all_low=-0.04, all_high=-0.01)
    there, back = said.pair(ACCURACY, "scratch", "two_stage"), said.pair(ACCURACY, "two_stage", "scratch")
    assert (there.difference, there.low, there.high, there.p75) == pytest.approx(
        (-0.02, -0.035, -0.005, -0.03)
    )
    assert (back.difference, back.low, back.high, back.p75) == pytest.approx((0.02, 0.005, 0.035, 0.03))
    assert (back.alone_low, back.alone_high) == pytest.approx((0.01, 0.03))
    with pytest.raises(KeyError):
        said.pair(ACCURACY, "scratch", "texture")
