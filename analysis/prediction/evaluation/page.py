"""The page of a set elsewhere: the answer first, then what it rests on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.prediction.evaluation.answers import Answers, Integers
from analysis.prediction.evaluation.caveats import caveats_of
from analysis.prediction.evaluation.home import comparison
from analysis.prediction.evaluation.judged import Judged
from analysis.prediction.evaluation.measures import ENSEMBLE, SINGLE, classes_of, groups_of
from analysis.report import figures_evaluation, tables
from analysis.report.figures import Picture, ProcessStyle, process_styles
from analysis.report.page import Report, Section
from analysis.report.tables import Column, Table
from analysis.runs.details import Reliability
from stages.console.words import counted
from stages.metrics import metric_of

HERE, HOME = "here", "at home"
_MOST_GROUPS = 200

_METRIC = tables.text(
    "metric",
    "metric",
    name=lambda name: metric_of(name).heading,
    below=lambda name: f"{metric_of(name).better} is better",
)


def page_of(judged: Judged, version: str) -> Report:
    """The page."""
    compared = None
    if judged.home is not None:
        compared = comparison(judged.answers, judged.home, shared=judged.overlap.any)
    sections = [
        _home_section(judged, compared),
        _metrics_section(judged),
        _recall_section(judged),
        _confusion_section(judged),
        _calibration_section(judged),
        _groups_section(judged),
    ]
    return Report(
        title=f"Relay: {judged.title} elsewhere",
        question=_in_short(judged, compared),
        version=version,
        facts=_facts(judged),
        caveats=caveats_of(judged),
        summary=_answer(judged, compared),
        sections=sections,
        fine="no image of the set is known to the networks, groups are known, and every class is there.",
        made_from="a labelled set and the networks' records and predictions",
    )


def _facts(judged: Judged) -> list[tuple[str, str]]:
    networks, seeds = judged.members
    counts = ", ".join(
        f"{judged.classes[label]} {int((judged.answers.labels == label).sum())}"
        for label in judged.answers.present
    )
    sides = ", ".join(f"{name} {count}" for name, count in judged.sides.items())
    which = (
        f"only those of {judged.side}" if judged.side else "all of them, whatever side the set puts them on"
    )
    facts = [
        ("networks", f"{networks} of {counted(seeds, 'seed')}"),
        ("set", f"{judged.size}; digest {judged.digest[:12]}"),
        ("classes", counts),
        ("judged", which + (f" ({sides})" if len(judged.sides) > 1 else "")),
        ("known images", f"looked for {judged.overlap.how}"),
    ]
    calibration = judged.calibration
    said = "none" if calibration is None else f"temperature {calibration.temperature:.3g}"
    return [*facts, ("calibration", said)]


def _in_short(judged: Judged, compared: pd.DataFrame | None) -> str:
    """The answer in one sentence, without intervals."""
    known = "; it holds images that they know" if judged.overlap.any else ""
    if compared is None or compared.empty:
        right = 100 * judged.accuracy(np.ones(judged.images, np.bool_))
        return f"Right on {right:.1f}% of the set's images{known}."
    found = compared.set_index("metric")
    who = "the network is" if judged.members[0] == 1 else "a single network is"
    home, here = (_percent(found, where) for where in ("home", "here"))
    return f"At home {who} right on {home} of images, here on {here}{known}."


def _answer(judged: Judged, compared: pd.DataFrame | None) -> list[str]:
    of_ensemble = judged.metrics[judged.metrics["of"] == ENSEMBLE].set_index("metric")
    row = of_ensemble.loc["accuracy"].to_dict()
    networks = judged.members[0]
    who = "the network is" if networks == 1 else f"the {networks} networks together are"
    said = f"On this set {who} right on {100 * row['value']:.1f}% of {judged.size}"
    if row["covers"]:
        ends = f"{100 * row['low']:.1f}% to {100 * row['high']:.1f}%"
        said += f" (95% interval {ends}, for {row['covers']})"
    said += _known(judged)
    if compared is None or compared.empty:
        return [f"{said}.", f"What the networks reach at home is not known: {judged.why_no_home}."]
    found = compared.set_index("metric")
    single = "it" if networks == 1 else "a single network"
    return [
        f"{said}; at home {single} reaches {_percent(found, 'home')}, here {_percent(found, 'here')}"
        f"{_apart(judged, found, 'accuracy')}.",
        *_balanced(judged, found),
    ]


def _known(judged: Judged) -> str:
    """That the networks know some of the images, for the sentence that counts them."""
    trained, evaluated = (int(flags.sum()) for flags in (judged.overlap.trained, judged.overlap.evaluated))
    said, before = "", int(judged.overlap.sources.sum())
    if trained:
        without = 100 * judged.accuracy(~judged.overlap.trained)
        said = f", {trained} of which they were trained on (without these {without:.1f}%)"
    if evaluated:
        said += f",{' and' if trained else ''} {evaluated} of which their runs were evaluated on"
    return f"{said}, {before} of which a source stage was trained on" if before else said


def _percent(found: pd.DataFrame, where: str, metric: str = "accuracy") -> str:
    return f"{100 * float(found[where].loc[metric]):.1f}%"


def _apart(judged: Judged, found: pd.DataFrame, metric: str) -> str:
    parts = ("difference", "difference_low", "difference_high")
    off, low, high = (100 * float(found[part].loc[metric]) for part in parts)
    if np.isnan(low):
        return ""
    if low <= 0 <= high:
        signed = " to ".join(tables.rounded(end, 1, sign=True) for end in (low, high))
        return f"; whether that is a difference is not clear (95% interval {signed} percentage points)"
    word = "less" if off < 0 else "more"
    ends = sorted((abs(low), abs(high)))
    varied = "other groups, the networks fixed" if judged.fixed else "other seeds and groups"
    within = f"95% interval {ends[0]:.1f} to {ends[1]:.1f}, for {varied}"
    return f": {abs(off):.1f} percentage points {word} ({within})"


def _balanced(judged: Judged, found: pd.DataFrame) -> list[str]:
    if "balanced_accuracy" not in found.index:
        return []
    home, here = (_percent(found, where, "balanced_accuracy") for where in ("home", "here"))
    return [
        "Accuracy follows how many images a set has of each class. With every class counting the same "
        f"(balanced accuracy), it is {home} at home and {here} "
        f"here{_apart(judged, found, 'balanced_accuracy')}."
    ]


def _scaled(title: str, mean: str, low: str, high: str) -> Column:
    return tables.estimate(
        title, 2, scale=lambda row: metric_of(row["metric"]).scale, mean=mean, error=None, low=low, high=high
    )


def _home_section(judged: Judged, compared: pd.DataFrame | None) -> Section:
    if compared is None:
        return Section("home", "Beside home", [f"There is no comparison: {judged.why_no_home}."])
    assert judged.home is not None
    images = len(judged.home.answers.labels)
    text = [
        "Single networks after their last epoch: at home on the images that their runs held out "
        f"({images} images{' of the classes that are here' if judged.absent else ''}), and on this set."
    ]
    if judged.overlap.any:
        text.append("The difference has no interval: the set shares images with what the networks know.")
    elif judged.home.why_no_difference:
        text.append(f"The difference has no interval: {judged.home.why_no_difference}.")
    if judged.calibration is not None and judged.calibration.cross_fitted is None:
        text.append("The numbers at home are not calibrated.")
    return Section(
        "home",
        "Beside home",
        text,
        tables=[
            Table(
                "home",
                "The same networks at home and here",
                "Mean over seeds, with 95% intervals for other seeds and other groups where there are "
                "several. The difference is here minus home, in the metric's unit; seeds are paired, "
                "groups are not.",
                [
                    _METRIC,
                    _scaled(HOME, "home", "home_low", "home_high"),
                    _scaled(HERE, "here", "low", "high"),
                    _scaled("difference", "difference", "difference_low", "difference_high"),
                ],
                compared,
            )
        ],
    )


def _metrics_section(judged: Judged) -> Section:
    kinds = [name for name in (ENSEMBLE, SINGLE) if name in set(judged.metrics["of"])]
    parts = {name: judged.metrics[judged.metrics["of"] == name].set_index("metric") for name in kinds}
    wide = pd.DataFrame({"metric": list(parts[ENSEMBLE].index)})
    columns: list[Column] = [_METRIC]
    for place, (name, rows) in enumerate(parts.items()):
        for part in ("value", "low", "high", "covers"):
            wide[f"{part}_{place}"] = [rows[part].get(metric) for metric in wide["metric"]]
        columns.append(_scaled(name, f"value_{place}", f"low_{place}", f"high_{place}"))
        columns.append(tables.text(f"covers_{place}", "interval is for"))
    over = "the classes that have images here" if judged.absent else "all classes"
    return Section(
        "metrics",
        "Metrics",
        [
            "The ensemble answers with the mean of its networks' probabilities. Single networks answer "
            f"each by itself; their values are averaged. Macro averages are over {over}."
        ],
        tables=[
            Table("metrics", "Every metric on this set", "With 95% intervals, each by itself.", columns, wide)
        ],
    )


def _styles() -> dict[str, ProcessStyle]:
    return process_styles([(HERE, HERE), (HOME, HOME)])


def _both(judged: Judged) -> dict[str, Answers]:
    found = {HERE: judged.answers}
    return found if judged.home is None else found | {HOME: judged.home.answers}


def _recall_section(judged: Judged) -> Section:
    parts = [
        classes_of(answers, judged.classes).assign(process=name) for name, answers in _both(judged).items()
    ]
    data = pd.concat(parts).rename(columns={"recall": "mean", "low": "ci_low", "high": "ci_high"})
    present = [judged.classes[label] for label in judged.answers.present]
    caption = (
        "Of the ensemble, with its 95% interval for other groups, the networks fixed (Korn and Graubard). At "
        "home each image is judged by the networks that had it out of training."
    )
    picture = figures_evaluation.class_recall(data, _styles(), present, caption)
    columns = [
        tables.text("process", "where"),
        tables.text("class", "class"),
        tables.number("images", "images", 0),
        tables.number("groups", "groups", 0),
        tables.estimate("recall (%)", 1, scale=100.0, error=None),
        tables.number("precision", "precision (%)", 1, scale=100.0),
        tables.number("single_networks", "single networks' recall (%)", 1, scale=100.0),
    ]
    table = Table("recall", "Recall of each class", caption, columns, data)
    return Section(
        "recall",
        "Recall of each class",
        pictures=[picture],
        folded=[table],
        folded_title="Recall and precision of each class, as a table",
    )


def confusion_of(answers: Answers, classes: Sequence[str]) -> Integers:
    """Counts of the ensemble, one row per true class and one column per predicted class."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (answers.labels, answers.together[0].argmax(axis=1)), 1)
    return counts


def _confusion_section(judged: Judged) -> Section:
    pictures: list[Picture] = []
    for name, answers in _both(judged).items():
        counts = confusion_of(answers, judged.classes)
        of = f"The ensemble {name}"
        style = replace(_styles()[name], label=f"the ensemble {name}")
        pictures.append(figures_evaluation.confusion_matrix(name, style, counts, judged.classes, of))
    predicted = [f"predicted {name}" for name in judged.classes]
    data = pd.DataFrame(confusion_of(judged.answers, judged.classes), columns=predicted)
    data.insert(0, "true class", list(judged.classes))
    columns = [tables.text("true class", "true class")]
    columns += [tables.number(key, name, 0) for key, name in zip(predicted, judged.classes, strict=True)]
    caption = "One row per true class, one column per class that the ensemble named."
    return Section(
        "confusion",
        "Confusion",
        grid=pictures,
        folded=[Table("confusion", "Confusion on this set, counts", caption, columns, data)],
        folded_title="Counts, as a table",
    )


def _calibration_section(judged: Judged) -> Section:
    panels: list[tuple[str, Answers]] = []
    for name, raw, answers in (
        (HERE, judged.raw, judged.answers),
        (HOME, None if judged.raw_home is None else judged.raw_home.answers, _both(judged).get(HOME)),
    ):
        if answers is not None and raw is not None:
            panels += [(f"{name}, before", raw), (f"{name}, calibrated", answers)]
        elif answers is not None:
            panels.append((name, answers))
    reliability = {}
    for name, answers in panels:
        reliability[name] = Reliability()
        reliability[name].add(0, answers.together[0].astype(np.float32), answers.labels)
    styles = process_styles([(name, name) for name in reliability])
    picture = figures_evaluation.reliability_diagrams(
        reliability, styles, "Of the ensemble. ECE: expected calibration error."
    )
    text = []
    if judged.calibration is not None:
        text.append(judged.calibration.note)
        if judged.overlap.evaluated.any():
            text.append(
                "Images that the runs were evaluated on are judged with a temperature that was fitted on "
                "other groups than theirs."
            )
    else:
        text.append("Probabilities are the networks' own; calibration=temperature would fit them at home.")
    return Section("calibration", "Calibration", text, pictures=[picture])


def _groups_section(judged: Judged) -> Section:
    if judged.answers.groups_are_images:
        return Section("groups", "By group", ["No two images share a group, so there is nothing to show."])
    data = groups_of(judged.answers, judged.classes, list(judged.group_names))
    lowest, first, middle, third = np.quantile(data["accuracy"], (0.0, 0.25, 0.5, 0.75))
    text = (
        f"Accuracy of the ensemble in single groups, each counting once: median {100 * middle:.1f}%, "
        f"quartiles {100 * first:.1f}% and {100 * third:.1f}%, lowest {100 * lowest:.1f}%. Groups have "
        "numbers in place of names; predictions.csv says which images are of which group."
    )
    columns = [
        tables.text("group", "group"),
        tables.number("images", "images", 0),
        tables.text("classes", "of these classes"),
        tables.number("accuracy", "ensemble (%)", 1, scale=100.0),
        tables.number("single_networks", "single networks (%)", 1, scale=100.0),
    ]
    table = Table("groups", "Each group", "The least accurate first.", columns, data, shown=_MOST_GROUPS)
    return Section(
        "groups", "By group", [text], folded=[table], folded_title="Each group, the least accurate first"
    )
