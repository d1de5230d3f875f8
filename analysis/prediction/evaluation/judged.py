"""A set judged: what networks said of it, what they reach at home, and what must be known first."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.prediction.calibration import Calibration
from analysis.prediction.evaluation.answers import Answers, Floats
from analysis.prediction.evaluation.home import Home
from analysis.prediction.evaluation.overlap import Overlap
from analysis.report.page import Caveat


@dataclass(frozen=True)
class Judged:
    """All that the page and the files are made of.

    Attributes:
        title: which networks, such as `two_stage`.
        classes: of the networks.
        answers: of the images that are judged; calibrated where that was asked for.
        raw: the same before calibration; None without.
        samples: what the person calls the images.
        group_names: by the groups' numbers.
        sides: how many images the set itself has on each side.
        side: the side that is judged; None for all.
        home: of the same networks; None where it is not known, and `why_no_home` says why.
        why_no_home: see there.
        raw_home: the same before calibration; None without.
        calibration: None without.
        temperatures: what each image's logits were divided by, (N,); 1 without calibration.
        overlap: with what the networks know.
        notes: what a person should know, a line each.
        unlike: in what the set's files are not as the training files, a sentence each.
        left_out: images of classes that were left out.
        members: how many networks of how many seeds.
        unfinished: warnings about networks that did not learn to the end.
        digest: of the set.
    """

    title: str
    classes: tuple[str, ...]
    answers: Answers
    raw: Answers | None
    samples: tuple[str, ...]
    group_names: tuple[str, ...]
    sides: dict[str, int]
    side: str | None
    home: Home | None
    why_no_home: str
    raw_home: Home | None
    calibration: Calibration | None
    temperatures: Floats
    overlap: Overlap
    notes: tuple[str, ...]
    unlike: tuple[str, ...]
    left_out: int
    members: tuple[int, int]
    digest: str
    unfinished: tuple[Caveat, ...] = ()
    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def images(self) -> int:
        """How many are judged."""
        return len(self.answers.labels)

    @property
    def fixed(self) -> bool:
        """Whether the networks are of one seed, or of several kinds: nothing is said of other seeds."""
        return len(np.unique(self.answers.seeds)) < 2

    @property
    def absent(self) -> list[str]:
        """Classes of the networks that have no image here."""
        return [name for label, name in enumerate(self.classes) if label not in self.answers.present]

    @property
    def size(self) -> str:
        """Images and groups, in words."""
        groups = int(self.answers.groups.max()) + 1
        return f"{self.images} images" + ("" if self.answers.groups_are_images else f" of {groups} groups")

    def accuracy(self, chosen: npt.NDArray[np.bool_]) -> float:
        """Of the ensemble, on some images."""
        right = self.answers.together[0].argmax(axis=1) == self.answers.labels
        return float(right[chosen].mean()) if chosen.any() else float("nan")
