"""What the same networks reach at home: on the images that their runs held out, beside a set elsewhere."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.prediction.calibration import HeldOut
from analysis.prediction.evaluation.answers import Answers, Integers
from analysis.prediction.evaluation.measures import SINGLE, Measured, interval_of, measured
from analysis.statistics.intervals import Interval, no_interval
from analysis.statistics.two_sets import OnSet, difference_of_sets

_COLUMNS = ["metric", "home", "home_low", "home_high", "here", "low", "high", "difference"]


@dataclass(frozen=True)
class Home:
    """The runs' own evaluation.

    Attributes:
        answers: of each seed's networks, one of them for each image (the one that had it out): as many
            "networks" as seeds. Of the classes that the other set has.
        why_no_difference: why no interval of a difference holds; empty where it does.
    """

    answers: Answers
    why_no_difference: str


def home_of(held: HeldOut, seeds: Integers, present: Integers) -> Home | None:
    """The runs' own evaluation, on the images of the classes that are there elsewhere.

    Args:
        held: of the runs.
        seeds: of each run, see `analysis.prediction.evaluation.answers.seed_numbers`.
        present: classes that have images elsewhere.

    Returns:
        None where seeds were evaluated on different images, or no image is of these classes.
    """
    of_rows = seeds[held.runs]
    number = int(seeds.max()) + 1
    of_fixed = number == 1 and not held.out_of_fold and len(held.networks) and held.networks.min() > 1
    if of_fixed:  # networks that are what they are, each on all images
        of_rows, number = held.runs, int(held.runs.max()) + 1
    images = np.repeat(np.arange(len(held.labels)), held.networks)
    times = np.zeros((number, len(held.labels)), np.int64)
    np.add.at(times, (of_rows, images), 1)
    if (times != 1).any():
        return None
    logits = np.empty((number, len(held.labels), held.logits.shape[1]))
    logits[of_rows, images] = held.logits
    of_seeds = np.zeros(number, np.int64) if of_fixed else np.arange(number)
    answers = Answers(held.labels, held.groups, logits, of_seeds)
    chosen = np.isin(held.labels, present)
    if not chosen.any():
        return None
    why = ""
    if held.out_of_fold and number == 1:
        why = "with folds it takes two seeds: the networks of one share training images"
    return Home(answers.only(chosen), why)


def comparison(here: Answers, home: Home, *, shared: bool) -> pd.DataFrame:
    """Each metric of single networks at home and here, and the difference.

    Args:
        here: of the set.
        home: of the same networks.
        shared: whether images or groups of the set are of the networks' own: then no interval holds.

    Returns:
        One row per metric. Columns: metric, home, home_low, home_high, here, low, high, difference,
        difference_low, difference_high. A difference is here minus home.
    """
    at_home = {each.metric.name: each for each in measured(home.answers, SINGLE)}
    rows = []
    for each in measured(here, SINGLE):
        other = at_home.get(each.metric.name)
        if other is None:
            continue
        of_home, _ = interval_of(other, home.answers)
        if home.why_no_difference and len(other.values) == 1:
            of_home = no_interval(of_home.estimate)
        of_here, _ = interval_of(each, here)
        holds = not shared and not home.why_no_difference
        found = _difference(each, here, other, home.answers) if holds else no_interval(each.mean - other.mean)
        row = [each.metric.name, of_home.estimate, of_home.low, of_home.high]
        row += [of_here.estimate, of_here.low, of_here.high, found.estimate, found.low, found.high]
        rows.append(row)
    return pd.DataFrame(rows, columns=[*_COLUMNS, "difference_low", "difference_high"])


def _difference(here: Measured, of_here: Answers, home: Measured, of_home: Answers) -> Interval:
    if here.without is None or home.without is None or here.values.shape != home.values.shape:
        return no_interval(here.mean - home.mean)
    if np.isnan(here.without).any() or np.isnan(home.without).any():
        return no_interval(here.mean - home.mean)
    sets = [
        OnSet(each.values, each.without, np.bincount(of.groups).astype(np.float64))
        for each, of in ((here, of_here), (home, of_home))
        if each.without is not None
    ]
    return difference_of_sets(*sets, span=here.metric.span)
