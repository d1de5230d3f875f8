"""Studies of which the truth is known: seeds, patients, images and epochs with effects on a logit scale.

An image of patient g is right for process p, seed s and epoch e where the sum is above 0 of

    level_p, class, g, (p, g), (p, s), (p, s, g), image, (p, s, e), (p, s, image, e), noise

with normal effects of the standard deviations of a `World` and standard logistic noise of (p, s, image). What
is true of new seeds and new patients follows by integration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

_CHUNK = 200_000  # images at a time, over the replicates of a chunk


@dataclass(frozen=True)
class World:
    """Standard deviations on the logit scale, and how patients and classes are distributed.

    Attributes:
        level: of both processes.
        gap: what the first process is better by.
        images: mean number of images of a patient.
        spread: standard deviation of its logarithm: patients of very unequal size.
        size_effect: how much harder (below 0) patients are, per standard deviation of log size.
        patient: shared by the processes.
        patient_process: of a patient in one process.
        seed: of a process and seed.
        seed_patient: of a process, seed and patient.
        image: shared by processes and seeds.
        epoch: of a process, seed and epoch.
        epoch_image: of a process, seed, epoch and image.
        fold: of a process, seed and fold; groups are divided into 5 folds anew for each seed.
        shares: of the classes.
        class_level: what a class is easier by.
        mix: patients hold classes as drawn from Dirichlet(mix * shares).
    """

    level: float = 1.9
    gap: float = 0.0
    images: float = 12.0
    spread: float = 1.0
    size_effect: float = 0.0
    patient: float = 0.8
    patient_process: float = 0.4
    seed: float = 0.2
    seed_patient: float = 0.4
    image: float = 1.0
    epoch: float = 0.15
    epoch_image: float = 0.3
    fold: float = 0.0
    shares: tuple[float, ...] = (0.5, 0.3, 0.12, 0.08)
    class_level: tuple[float, ...] = (0.5, 0.0, -0.5, -1.0)
    mix: float = 3.0

    def recalls(self, process: int) -> Array:
        """True recall of each class, for new seeds and new patients, shape (classes,)."""
        effects = [self.patient, self.patient_process, self.seed, self.seed_patient, self.image]
        effects += [self.epoch, self.epoch_image, self.fold]
        points, weights = np.polynomial.hermite_e.hermegauss(60)
        weights = weights / weights.sum()
        normal = np.hypot.reduce(effects) * points
        size = _sizes(self, points)
        by_size = size * weights / (size * weights).sum()
        level = self.level + (self.gap if process == 0 else 0.0) + np.asarray(self.class_level)
        at = level[:, None, None] + self.size_effect * points[:, None] + normal
        return np.asarray(np.einsum("cij,i,j->c", special.expit(at), by_size, weights), dtype=np.float64)

    def balanced_accuracy(self, process: int) -> float:
        """True balanced accuracy: the mean recall."""
        return float(self.recalls(process).mean())

    def accuracy(self, process: int) -> float:
        """True accuracy: the share of right images."""
        return float(np.asarray(self.shares) @ self.recalls(process))

    def macro_f1(self, process: int) -> float:
        """True macro F1."""
        shares, recalls = np.asarray(self.shares), self.recalls(process)
        predicted = shares * recalls + (shares * (1 - recalls)) @ _confusions(self)
        return float(np.mean(2 * shares * recalls / (shares + predicted)))


@dataclass(frozen=True)
class Studies:
    """Counts of R studies with G patients, P processes and S seeds.

    Attributes:
        sizes: images of a patient, shape (R, G).
        right: right images, the mean over epochs, shape (R, P, S, G).
        images: images of each class, shape (R, G, C).
        hits: right images of each class after the last epoch, shape (R, P, S, G, C), if asked for.
        predictions: predictions of each class after the last epoch, same shape.
    """

    sizes: Array
    right: Array
    images: Array
    hits: Array
    predictions: Array


def simulate(
    world: World,
    patients: int,
    seeds: int,
    replicates: int,
    generator: np.random.Generator,
    *,
    epochs: int = 4,
    classes: bool = False,
    processes: int = 2,
) -> Iterator[Studies]:
    """Draw studies, some at a time.

    Args:
        world: what is true.
        patients: G.
        seeds: S.
        replicates: R, over all chunks.
        generator: source of randomness.
        epochs: of the plateau.
        classes: whether to count hits and predictions by class.
        processes: P; only the first may be better than the others.
    """
    size = max(1, int(_CHUNK / patients / world.images / (seeds if classes else 1)))
    for start in range(0, replicates, size):
        count = min(size, replicates - start)
        yield _chunk(
            world, patients, seeds, count, generator, epochs=epochs, classes=classes, processes=processes
        )


def _chunk(
    world: World,
    patients: int,
    seeds: int,
    replicates: int,
    generator: np.random.Generator,
    *,
    epochs: int,
    classes: bool,
    processes: int,
) -> Studies:
    """Draw studies; images of all studies lie in one row, patient after patient."""
    count, kinds = replicates * patients, len(world.shares)

    def normal(*shape: int) -> npt.NDArray[np.float32]:
        return generator.standard_normal(shape, dtype=np.float32)

    of_size = generator.standard_normal(count)
    sizes = _sizes(world, of_size).astype(np.int64)
    patient = np.repeat(np.arange(count), sizes)
    study = patient // patients
    first = np.cumsum(sizes) - sizes
    mix = generator.standard_gamma(np.asarray(world.shares) * world.mix, (count, kinds)) + 1e-9
    label = _draw(mix, patient, generator)
    shared = world.patient * normal(count) + np.float32(world.size_effect) * of_size.astype(np.float32)
    base = shared[patient] + world.image * normal(len(patient))
    base += np.asarray(world.class_level, np.float32)[label] + np.float32(world.level)
    fold_of = generator.permuted(np.tile(np.arange(patients) % 5, (seeds, replicates, 1)), axis=-1)
    shape = (replicates, processes, seeds, patients)
    right = np.empty(shape)
    by_class = (*shape, kinds) if classes else (0,)
    hits, predictions = np.empty(by_class), np.empty(by_class)
    for process in range(processes):
        own = base + (world.patient_process * normal(count))[patient]
        own += np.float32(world.gap if process == 0 else 0.0)
        for seed in range(seeds):
            effect = world.seed * normal(replicates, 1) + world.seed_patient * normal(replicates, patients)
            folds = world.fold * normal(replicates, 5)
            effect += np.take_along_axis(folds, fold_of[seed], axis=1)
            uniform = generator.random(len(patient), dtype=np.float32) * np.float32(0.999998) + np.float32(
                1e-6
            )
            margin = own + effect.ravel()[patient] + np.log(uniform / (1 - uniform))
            total = np.zeros(len(patient), np.float32)
            for _ in range(epochs):
                shift = (world.epoch * normal(replicates))[study]
                correct = margin + shift + world.epoch_image * normal(len(patient)) > 0
                total += correct
            right[:, process, seed] = np.add.reduceat(total, first).reshape(replicates, patients) / epochs
            if classes:
                guess = np.where(correct, label, _draw(_confusions(world), label, generator))
                hits[:, process, seed] = _tally(patient[correct], label[correct], count, kinds, shape)
                predictions[:, process, seed] = _tally(patient, guess, count, kinds, shape)
    return Studies(
        sizes=sizes.reshape(replicates, patients).astype(np.float64),
        right=right,
        images=_tally(patient, label, count, kinds, shape),
        hits=hits,
        predictions=predictions,
    )


def _tally(
    patient: npt.NDArray[np.int64],
    kind: npt.NDArray[np.int64],
    count: int,
    kinds: int,
    shape: tuple[int, int, int, int],
) -> Array:
    cells = np.bincount(patient * kinds + kind, minlength=count * kinds)
    return cells.reshape(shape[0], shape[3], kinds).astype(np.float64)


def _sizes(world: World, standard: Array) -> Array:
    """Images of patients whose log size is that many standard deviations from its mean; 1 or more."""
    return np.maximum(1.0, np.rint(world.images * np.exp(world.spread * standard - world.spread**2 / 2)))


def _confusions(world: World) -> Array:
    """What an image of a class (row) that is not right is taken for: the other classes by their shares."""
    others = np.tile(np.asarray(world.shares), (len(world.shares), 1))
    np.fill_diagonal(others, 0.0)
    return np.asarray(others / others.sum(axis=1, keepdims=True), dtype=np.float64)


def _draw(
    weights: Array, row: npt.NDArray[np.int64], generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """A column for each image, with probabilities in proportion to the weights of its row."""
    upper = np.cumsum(weights, axis=1)
    point = generator.random(len(row)) * upper[row, -1]
    return np.asarray((point[:, None] >= upper[row, :-1]).sum(axis=1), dtype=np.int64)
