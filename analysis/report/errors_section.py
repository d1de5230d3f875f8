"""The page's section on errors: which images and patients the networks get wrong, without naming one."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.report import tables
from analysis.report.page import Section
from analysis.report.study_tables import PROCESS, Labels
from analysis.report.tables import Row, Table
from analysis.runs.out_of_fold import PooledPredictions
from stages.console.words import counted

_Right = npt.NDArray[np.bool_]


def errors_section(pooled: PooledPredictions | None, labels: Labels) -> Section | None:
    """How errors are spread over images, seeds, patients and classes; None without predictions.

    Args:
        pooled: predictions with all training data.
        labels: of the processes, in order.
    """
    chosen = [process for process in labels if pooled is not None and (process, 1.0) in pooled.by_epoch]
    if pooled is None or not chosen:
        return None
    right = {process: pooled.correctness((process, 1.0)) >= 0.5 for process in chosen}
    return Section(
        "errors",
        "Errors",
        [
            "All training data. An image counts as right at a seed if it is classified correctly in half of "
            "the plateau's epochs or more. What is wrong at every seed is not chance in training: look at "
            "these images and their labels. predictions.parquet of the runs names them."
        ],
        tables=[
            _by_image(pooled, right, labels),
            *_by_patient(pooled, right, labels),
            _hardest(pooled, right),
        ],
    )


def _by_image(pooled: PooledPredictions, right: dict[str, _Right], labels: Labels) -> Table:
    rows = []
    for process, of_seeds in right.items():
        seeds, images = of_seeds.shape
        times = of_seeds.sum(axis=0)
        rows.append(
            {
                "label": labels[process],
                "process": process,
                "always": int((times == seeds).sum()) / images,
                "sometimes": int(((times > 0) & (times < seeds)).sum()) / images,
                "never": int((times == 0).sum()) / images,
                "seeds": seeds,
            }
        )
    return Table(
        "errors",
        "Images that are right at every seed, at some, at none",
        f"Share of {len(pooled.samples)} evaluation images.",
        [
            PROCESS,
            tables.number("always", "every seed (%)", 1, scale=100.0),
            tables.number("sometimes", "some seeds (%)", 1, scale=100.0),
            tables.number("never", "no seed (%)", 1, scale=100.0),
            tables.number("seeds", "seeds", 0),
        ],
        pd.DataFrame(rows),
    )


def _by_patient(pooled: PooledPredictions, right: dict[str, _Right], labels: Labels) -> list[Table]:
    """How accuracy differs between patients; nothing where no patients are known."""
    names, of_image = np.unique([str(group) for group in pooled.groups], return_inverse=True)
    if None in pooled.groups or len(names) == len(pooled.samples):
        return []
    images = np.bincount(of_image)
    rows = []
    for process, of_seeds in right.items():
        accuracy = np.bincount(of_image, of_seeds.mean(axis=0)) / images
        lowest, first, middle, third = np.quantile(accuracy, (0.0, 0.25, 0.5, 0.75))
        row: Row = {"label": labels[process], "process": process, "lowest": lowest, "first": first}
        row |= {"middle": middle, "third": third, "mostly_wrong": int((accuracy < 0.5).sum())}
        rows.append(row)
    fewest, most = int(images.min()), int(images.max())
    of_one = counted(most, "image") if fewest == most else f"{fewest} to {most} images"
    return [
        Table(
            "errors_patients",
            "Accuracy of single patients",
            f"Mean over seeds, of {len(names)} patients (groups) with {of_one} each; each patient "
            "counts once.",
            [
                PROCESS,
                tables.number("lowest", "lowest (%)", 1, scale=100.0),
                tables.number("first", "first quartile (%)", 1, scale=100.0),
                tables.number("middle", "median (%)", 1, scale=100.0),
                tables.number("third", "third quartile (%)", 1, scale=100.0),
                tables.number("mostly_wrong", "patients below 50%", 0),
            ],
            pd.DataFrame(rows),
        )
    ]


def _hardest(pooled: PooledPredictions, right: dict[str, _Right]) -> Table:
    """Images that no network of any process gets right, by class."""
    never = ~np.any([of_seeds.any(axis=0) for of_seeds in right.values()], axis=0)
    said = np.stack(
        [of_seed[:, -1] for process in right for of_seed in pooled.by_epoch[process, 1.0].values()]
    )
    rows = []
    for place, name in enumerate(pooled.classes):
        of_class = pooled.labels == place
        hard = of_class & never
        wrong = Counter(int(each) for each in said[:, hard].ravel() if each != place)
        rows.append(
            {
                "class": name,
                "images": int(of_class.sum()),
                "never": int(hard.sum()),
                "taken_for": pooled.classes[wrong.most_common(1)[0][0]] if wrong else None,
            }
        )
    return Table(
        "errors_classes",
        "Images that no network gets right",
        "Of no process at any seed; and the class that they are most often taken for.",
        [
            tables.text("class", "class"),
            tables.number("images", "evaluation images", 0),
            tables.number("never", "never right", 0),
            tables.text("taken_for", "most often taken for"),
        ],
        pd.DataFrame(rows),
    )
