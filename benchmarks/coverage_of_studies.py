"""How often intervals over seeds and patients cover what is true; see `benchmarks.coverage`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from analysis.statistics import fixed_networks, two_way
from analysis.statistics.by_patient import kish, leave_one_out, leave_one_out_counts
from analysis.statistics.intervals import CONFIDENCE, plain_ends, t_quantile
from benchmarks.simulated_study import Array, Studies, World, simulate
from stages.metrics import METRICS, Counts

Ends = tuple[Array, Array]


def _of_counts(metric: str) -> Callable[[Counts], Array]:
    of_counts = METRICS[metric].of_counts
    assert of_counts is not None
    return of_counts


WORLDS = {
    "usual: 81% right, patients of very unequal size": World(),
    "level near 1: 96.5% right": World(level=4.2),
    "seeds vary more than patients": World(seed=0.7, patient=0.4, patient_process=0.2),
    "patients vary more, seeds hardly": World(seed=0.05, patient=1.2),
    "patients of equal size": World(spread=0.0),
    "large patients are harder": World(size_effect=-0.6),
    "5 folds, one network each": World(fold=0.4),
}


@dataclass(frozen=True)
class Cell:
    """A share of simulated studies.

    Attributes:
        what: the interval or test.
        world: what is true.
        row: number of patients, or of what else tells rows apart.
        column: number of seeds, or of patients.
        percent: of the intervals that exist, that cover the truth; of tests, that are positive.
        none: percent of studies without an interval.
    """

    what: str
    world: str
    row: str
    column: int
    percent: float
    none: float = 0.0


def cell(what: str, world: str, row: str, column: int, ends: Sequence[Ends], truth: float) -> Cell:
    """How often chunks of intervals cover a number."""
    low, high = (np.concatenate([each[side] for each in ends]) for side in (0, 1))
    there = np.isfinite(low)
    covers = (low <= truth) & (truth <= high) & there
    return Cell(what, world, row, column, 100 * covers.sum() / max(1, there.sum()), 100 * (1 - there.mean()))


def seeds_and_patients(
    worlds: dict[str, World], patients: Sequence[int], seeds: Sequence[int], replicates: int, compared: bool
) -> Iterator[Cell]:
    """Intervals for new seeds and new patients of accuracy; the difference's truth is 0 and, once, not 0.

    Args:
        worlds: what is true.
        patients: numbers of patients.
        seeds: numbers of seeds.
        replicates: studies of each combination.
        compared: whether to add other methods, for the difference in the first three worlds.
    """
    named = list(worlds.items())
    first, usual = named[0]
    for place, (name, world) in enumerate([*named, (f"{first}; 5 points apart", replace(usual, gap=0.4))]):
        difference, level = world.accuracy(0) - world.accuracy(1), world.accuracy(1)
        for number in patients:
            for of_seeds in seeds:
                generator = np.random.default_rng([number, of_seeds, len(name)])
                found: dict[str, list[Ends]] = {}
                for studies in simulate(world, number, of_seeds, replicates, generator):
                    for what, ends in _two_way(studies, compared and place < 3):
                        found.setdefault(what, []).append(ends)
                for what, chunks in found.items():
                    truth = level if what.startswith("level") else difference
                    yield cell(what, name, str(number), of_seeds, chunks, truth)


def all_pairs(
    worlds: dict[str, World], patients: Sequence[int], seeds: Sequence[int], replicates: int
) -> Iterator[Cell]:
    """Intervals for new seeds and new patients of all pairs of 6 equal processes, corrected for 15 pairs."""
    pairs = list(combinations(range(6), 2))
    first, second = (np.array(each) for each in zip(*pairs, strict=True))
    for name, world in worlds.items():
        for number in patients:
            for of_seeds in seeds:
                generator = np.random.default_rng([number, of_seeds, len(name), 3])
                covered: list[npt.NDArray[np.bool_]] = []
                alone: list[npt.NDArray[np.bool_]] = []
                for studies in simulate(world, number, of_seeds, replicates, generator, processes=6):
                    value, without = leave_one_out(studies.right, studies.sizes[:, None, None])
                    value, without = (
                        value[:, first] - value[:, second],
                        without[:, first] - without[:, second],
                    )
                    sizes = np.broadcast_to(studies.sizes[:, None], (*value.shape[:2], number))
                    for confidence, found in ((1 - 0.05 / len(pairs), covered), (CONFIDENCE, alone)):
                        low, high, _ = two_way.ends(value, without, sizes, level=False, confidence=confidence)
                        excludes = np.asarray((low > 0) | (high < 0), dtype=np.bool_)
                        found.append(np.asarray(~excludes.any(axis=1), dtype=np.bool_))
                together = 100 * float(np.concatenate(covered).mean())
                by_themselves = 100 * float(np.concatenate(alone).mean())
                yield Cell("15 differences, corrected: all cover", name, str(number), of_seeds, together)
                yield Cell(
                    "15 differences, each by itself: all cover", name, str(number), of_seeds, by_themselves
                )


def metrics_for_seeds_and_patients(
    worlds: dict[str, World], patients: Sequence[int], seeds: Sequence[int], replicates: int
) -> Iterator[Cell]:
    """Intervals for new seeds and new patients of metrics that count every class once."""
    metrics = {"macro F1": "f1_score_macro", "balanced accuracy": "balanced_accuracy"}
    for name, world in worlds.items():
        truths = {"macro F1": world.macro_f1(1), "balanced accuracy": world.balanced_accuracy(1)}
        for number in patients:
            for of_seeds in seeds:
                generator = np.random.default_rng([number, of_seeds, len(name), 1])
                levels: dict[str, list[Ends]] = {title: [] for title in metrics}
                differences: dict[str, list[Ends]] = {title: [] for title in metrics}
                for studies in simulate(
                    world, number, of_seeds, replicates, generator, epochs=1, classes=True
                ):
                    for title, metric in metrics.items():
                        value, without = leave_one_out_counts(
                            _of_counts(metric),
                            studies.images[:, None, None],
                            studies.hits,
                            studies.predictions,
                        )
                        sizes = studies.sizes
                        ends = two_way.ends(value[:, 1], without[:, 1], sizes, level=True)[:2]
                        levels[title].append(ends)
                        value, without = value[:, 0] - value[:, 1], without[:, 0] - without[:, 1]
                        differences[title].append(two_way.ends(value, without, sizes, level=False)[:2])
                for title in metrics:
                    place = (name, str(number), of_seeds)
                    yield cell(f"level of {title}", *place, levels[title], truths[title])
                    yield cell(f"difference of {title}", *place, differences[title], 0.0)


def patients_only(worlds: dict[str, World], patients: Sequence[int], replicates: int) -> Iterator[Cell]:
    """Intervals for new patients of fixed networks: a process's network of one seed, without seed effects.

    The interaction of seed and patient stays, as a property of the fixed network.
    """
    for name, world in worlds.items():
        fixed = replace(world, seed=0.0, epoch=0.0, epoch_image=0.0, fold=0.0)
        recalls = fixed.recalls(1)
        truths = {
            "accuracy": fixed.accuracy(1),
            "difference of accuracies": 0.0,
            "macro F1": fixed.macro_f1(1),
            "difference of macro F1": 0.0,
            "recall of a class of 50%": float(recalls[0]),
            "recall of a class of 8%": float(recalls[3]),
        }
        for number in patients:
            generator = np.random.default_rng([number, len(name), 2])
            found: dict[str, list[Ends]] = {what: [] for what in truths}
            for studies in simulate(fixed, number, 1, replicates, generator, epochs=1, classes=True):
                for what, ends in zip(truths, _fixed(studies), strict=True):
                    found[what].append(ends)
            for what, chunks in found.items():
                yield cell(what, name, "", number, chunks, truths[what])


def _two_way(studies: Studies, compared: bool) -> Iterator[tuple[str, Ends]]:
    value, without = leave_one_out(studies.right, studies.sizes[:, None, None])
    sizes = studies.sizes
    yield "level", two_way.ends(value[:, 1], without[:, 1], sizes, level=True)[:2]
    value, without = value[:, 0] - value[:, 1], without[:, 0] - without[:, 1]
    yield "difference", two_way.ends(value, without, sizes, level=False)[:2]
    if not compared:
        return
    estimate, seeds, patients, both = two_way.components(value, without)
    of_seeds, dof = value.shape[1] - 1, kish(sizes) - 1
    yield "difference, seeds only (t)", plain_ends(estimate, seeds, t_quantile(of_seeds))
    yield "difference, patients only (jackknife)", plain_ends(estimate, patients, t_quantile(dof))
    total = seeds + patients
    bottom = seeds**2 / of_seeds + patients**2 / dof
    yield "difference, sum (Satterthwaite)", plain_ends(estimate, total, t_quantile(total**2 / bottom))
    total = np.maximum(total - both, np.maximum(seeds, patients))
    bottom += both**2 / (of_seeds * dof)
    yield "difference, ANOVA (Satterthwaite)", plain_ends(estimate, total, t_quantile(total**2 / bottom))
    yield "difference, crossed bootstrap (percentile)", _crossed_bootstrap(studies)


def _crossed_bootstrap(studies: Studies, draws: int = 400, most: int = 100) -> Ends:
    """Seeds and patients drawn with replacement, both (Sellam et al. 2022), of at most `most` studies."""
    generator = np.random.default_rng(0)
    right = (studies.right[:, 0] - studies.right[:, 1])[:most]
    _, seeds, patients = right.shape
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    of_patients = generator.multinomial(patients, np.full(patients, 1 / patients), draws)
    sums = np.einsum("rbg,bg->rb", of_seeds @ right, of_patients)
    drawn = sums / (studies.sizes[:most] @ of_patients.T)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=1)
    return low, high


def _fixed(studies: Studies) -> Iterator[Ends]:
    """Accuracy, macro F1, differences of both, recalls, in the order of `patients_only`."""
    sizes = studies.sizes
    value, without = leave_one_out(studies.right[:, :, 0], sizes[:, None])
    yield fixed_networks.accuracy_ends(value[:, 1], without[:, 1], sizes)[:2]
    yield fixed_networks.difference_ends(value[:, 0] - value[:, 1], without[:, 0] - without[:, 1], sizes)[:2]
    value, without = leave_one_out_counts(
        _of_counts("f1_score_macro"),
        studies.images[:, None],
        studies.hits[:, :, 0],
        studies.predictions[:, :, 0],
    )
    yield fixed_networks.level_ends(value[:, 1], without[:, 1], sizes)[:2]
    yield fixed_networks.difference_ends(value[:, 0] - value[:, 1], without[:, 0] - without[:, 1], sizes)[:2]
    for label in (0, 3):
        images = studies.images[:, :, label]
        several = (images > 0).sum(axis=1) > 1
        low, high = np.full((2, len(images)), np.nan)
        hits = studies.hits[several, 1, 0, :, label]
        low[several], high[several] = fixed_networks.korn_graubard(hits, images[several])
        yield low, high
