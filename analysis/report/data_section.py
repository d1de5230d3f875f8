"""The page's section on the images: classes, sides and patients, training counts, sample images."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.report import tables
from analysis.report.figures import Picture, ratio_label
from analysis.report.figures_samples import sample_images
from analysis.report.page import Section
from analysis.report.tables import Cell, Column, Row, Table
from analysis.runs.images import RunImages, run_images
from analysis.runs.study import Study
from stages.store import RunFolder


def data_section(study: Study, sources: pd.DataFrame) -> Section:
    """Which images the study's runs were trained and evaluated on.

    Args:
        study: the study.
        sources: rows of its sources.

    Raises:
        RelayError: if a record is damaged.
    """
    images = run_images(study.runs)
    largest = max(each.ratio for each in images)
    whole = [each for each in images if each.ratio == largest]
    folded = any(each.fold is not None for each in images)
    values = _values(study.target, whole, sources)
    return Section(
        "data",
        "Data",
        [_text(whole, folded=folded, known=_groups_known(whole)), *values, _balance(study)],
        grid=_samples(study.target, whole, sources),
        tables=[_sides(whole, folded=folded), _training(images)],
        folded=[_by_fold(images)] if folded else [],
        folded_title="Images of each seed and fold",
    )


def _groups_known(images: Sequence[RunImages]) -> bool:
    """Whether some images share a patient; if not, each image is its own group."""
    return any(each.data.train_groups < sum(each.data.train_counts) for each in images)


def _text(images: Sequence[RunImages], *, folded: bool, known: bool) -> str:
    folds = len({each.fold for each in images})
    how = (
        f"The target's images are divided into {folds} folds by whole patients (groups), in another way for "
        "each seed: each image is evaluated once a seed, by a network that has seen no image of its patient."
        if folded
        else "The target's images stand on fixed sides, the same for all seeds and processes."
    )
    patients = (
        "A patient is a group that the images' source names."
        if known
        else "The source names no patients: each image is its own group."
    )
    test = (
        " The images of the test side are in no training and no evaluation."
        if any(each.data.test_counts for each in images)
        else " There is no test side that was kept back."
    )
    return f"{how} {patients}{test}"


def _values(target: str, images: Sequence[RunImages], sources: pd.DataFrame) -> list[str]:
    """What the values of the target's and the sources' images are, where their records say it."""
    found = {target: images[0].data.values}
    for stage, folder in zip(sources["stage"], sources["folder"], strict=True):
        if stage not in found:
            found[str(stage)] = RunFolder(Path(folder)).read_record().data.values
    said = [f"{stage}: {values}." for stage, values in found.items() if values is not None]
    return [f"Values of all images of a stage: {' '.join(said)}"] if said else []


def _balance(study: Study) -> str:
    """What training did about unequal classes (TRIPOD+AI, item 13)."""

    def of_target(key: str) -> str:
        return study.settings.get(key, study.settings.get(f"{study.target}: {key}", "")).strip('"')

    if of_target("optim.class_weights") == "balanced":
        how = (
            "The training loss of the target weighs each class by N / (C n), so that classes count equally "
            "(optim.class_weights=balanced)."
        )
    elif of_target("optim.sampling") == "balanced":
        how = "An epoch of the target draws equally many images of each class (optim.sampling=balanced)."
    else:
        return "Classes are as frequent in training as in the images; nothing balances them."
    return f"{how} Probabilities are not calibrated again afterwards: see Calibration."


def _sides(images: Sequence[RunImages], *, folded: bool) -> Table:
    """Classes by sides, images and patients."""
    classes = images[0].data.classes
    evaluated = _evaluated_of_seeds(images)
    rows = []
    for place, name in enumerate([*classes, "all classes"]):
        of_class = place if place < len(classes) else None
        row: Row = {"class": name}
        row |= _ends("train_images", [_of(each.data.train_counts, of_class) for each in images])
        row |= _ends("train_groups", [_groups(each, "train", of_class) for each in images])
        row |= _ends(
            "val_images", [sum(_of(each.data.val_counts, of_class) for each in one) for one in evaluated]
        )
        row |= _ends(
            "val_groups", [_summed([_groups(each, "val", of_class) for each in one]) for one in evaluated]
        )
        test = images[0].data.test_counts
        row |= _ends("test_images", [None if test is None else _of(test, of_class)])
        row |= _ends("test_groups", [images[0].data.test_groups if of_class is None else None])
        rows.append(row)
    columns = [
        tables.text("class", "class"),
        _range("train_images", "training images"),
        _range("train_groups", "training patients"),
        _range("val_images", "evaluation images"),
        _range("val_groups", "evaluation patients"),
    ]
    if images[0].data.test_counts is not None:
        columns += [_range("test_images", "test images"), _range("test_groups", "test patients")]
    over = "all folds of a seed together" if folded else "the evaluation side"
    return Table(
        "data",
        "Images and patients of each class",
        f"With {ratio_label(images[0].ratio)} of the training images; evaluation: {over}. A patient with "
        "images of several classes counts in each. From the least to the most over runs, where they differ.",
        columns,
        pd.DataFrame(rows),
    )


def _training(images: Sequence[RunImages]) -> Table:
    """Training images at each data ratio."""
    classes = images[0].data.classes
    rows = []
    for ratio in sorted({each.ratio for each in images}):
        chosen = [each.data for each in images if each.ratio == ratio]
        row: Row = {"data_ratio": ratio}
        row |= _ends("train_images", [sum(data.train_counts) for data in chosen])
        row |= _ends("train_groups", [data.train_groups for data in chosen])
        for place in range(len(classes)):
            row |= _ends(f"class_{place}", [data.train_counts[place] for data in chosen])
        rows.append(row)
    return Table(
        "training_images",
        "Training images at each amount of data",
        "Of one run. From the least to the most over seeds and folds, where these differ.",
        [
            tables.number("data_ratio", "training images (%)", 0, scale=100.0),
            _range("train_images", "images"),
            _range("train_groups", "patients"),
            *(_range(f"class_{place}", name) for place, name in enumerate(classes)),
        ],
        pd.DataFrame(rows),
    )


def _by_fold(images: Sequence[RunImages]) -> Table:
    rows = [
        {
            "data_ratio": each.ratio,
            "seed": each.seed,
            "fold": each.fold,
            "train_images": sum(each.data.train_counts),
            "train_groups": each.data.train_groups,
            "val_images": sum(each.data.val_counts),
            "val_groups": each.data.val_groups,
        }
        for each in images
    ]
    columns = [
        tables.number("data_ratio", "training images (%)", 0, scale=100.0),
        tables.number("seed", "seed", 0),
        tables.number("fold", "fold", 0),
        tables.number("train_images", "training images", 0),
        tables.number("train_groups", "training patients", 0),
        tables.number("val_images", "evaluation images", 0),
        tables.number("val_groups", "evaluation patients", 0),
    ]
    caption = "One row per seed and fold, the same for all processes."
    return Table(
        "data_folds", "Images of each seed and fold", caption, columns, pd.DataFrame(rows), shown=100
    )


def _samples(target: str, images: Sequence[RunImages], sources: pd.DataFrame) -> list[Picture]:
    """Sample images of the sources, in the order of their names, and of the target, first."""
    sheets = {target: (images[0].sheet, images[0].data.classes)}
    for stage, folder in zip(sources["stage"], sources["folder"], strict=True):
        if stage not in sheets and RunFolder(Path(folder)).sample_sheet.is_file():
            run = RunFolder(Path(folder))
            sheets[str(stage)] = (run.sample_sheet, run.read_record().data.classes)
    drawn = (sample_images(stage, sheet, list(classes)) for stage, (sheet, classes) in sheets.items())
    return [picture for picture in drawn if picture is not None]


def _evaluated_of_seeds(images: Sequence[RunImages]) -> list[list[RunImages]]:
    """The runs that together evaluate each image once, for each seed that has the most folds."""
    of_seeds = [
        [each for each in images if each.seed == seed] for seed in sorted({each.seed for each in images})
    ]
    most = max(map(len, of_seeds))
    return [of_seed for of_seed in of_seeds if len(of_seed) == most]


def _of(counts: Sequence[int], place: int | None) -> int:
    return sum(counts) if place is None else counts[place]


def _groups(images: RunImages, side: str, place: int | None) -> int | None:
    """Patients of a side, with an image of the class; None where the record does not say it."""
    data = images.data
    if place is None:
        return data.train_groups if side == "train" else data.val_groups
    of_classes = data.train_class_groups if side == "train" else data.val_class_groups
    return None if of_classes is None else of_classes[place]


def _summed(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _ends(name: str, values: Sequence[int | None]) -> Row:
    known = [value for value in values if value is not None]
    return {f"{name}_least": min(known, default=None), f"{name}_most": max(known, default=None)}


def _range(name: str, title: str) -> Column:
    """A column of counts, from the least to the most where these differ."""

    def cell(row: Row) -> Cell:
        least, most = row[f"{name}_least"], row[f"{name}_most"]
        if pd.isna(least):
            return Cell(tables.MISSING, "", "")
        return Cell(f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}", "", repr(float(least)))

    return Column(title, cell)
