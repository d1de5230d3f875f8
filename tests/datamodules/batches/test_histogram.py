import subprocess
import sys

import numpy as np

from datamodules.batches.histogram import histogram_accuracy


def constant_grey(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Class 0 dark, class 1 bright."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    level = np.where(labels == 0, rng.integers(20, 60, number), rng.integers(180, 220, number))
    return np.broadcast_to(level[:, None, None], (number, 8, 8)).astype(np.uint8), labels


def stripes_and_halves(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Class 0 striped, class 1 split into halves; both are half black and half of one bright grey."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    rows = np.arange(8)
    masks = np.stack([np.broadcast_to(rows % 2 == 0, (8, 8)), np.broadcast_to(rows < 4, (8, 8))])
    bright = rng.integers(100, 256, number)
    return (masks[labels] * bright[:, None, None]).astype(np.uint8), labels


def test_constant_greys_are_told_apart() -> None:
    train, val = constant_grey(200, 0), constant_grey(60, 1)
    assert histogram_accuracy(*train, *val) == 1.0


def test_arrangement_is_not_seen() -> None:
    train, val = stripes_and_halves(400, 0), stripes_and_halves(400, 1)
    assert 0.4 < histogram_accuracy(*train, *val) < 0.6


def test_pixels_may_be_shuffled() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = np.clip(rng.normal(90 + 25 * labels[:, None, None], 40, (120, 8, 8)), 0, 255).astype(np.uint8)
    shuffled = rng.permuted(images.reshape(120, 64), axis=1).reshape(120, 8, 8)
    accuracy = histogram_accuracy(images[:60], labels[:60], images[60:], labels[60:])
    assert histogram_accuracy(images[:60], labels[:60], shuffled[60:], labels[60:]) == accuracy
    assert accuracy > 0.6


def test_three_classes_get_one_label_each() -> None:
    level = np.array([10, 120, 230])
    labels = np.arange(90) % 3
    images = np.broadcast_to(level[labels][:, None, None], (90, 4, 4)).astype(np.uint8)
    assert histogram_accuracy(images[:60], labels[:60], images[60:], labels[60:]) == 1.0
    # Evaluation labels moved on by one: all wrong.
    assert histogram_accuracy(images[:60], labels[:60], images[60:], (labels[60:] + 1) % 3) == 0.0


def test_colour_is_read_as_luma() -> None:
    # ITU-R BT.601: pure green of 100 is a grey of 59, pure blue of 100 one of 11, pure red of 100 one of 30.
    grey = np.array([30, 59, 11])
    labels = np.arange(90) % 3
    train = np.broadcast_to(grey[labels][:, None, None], (90, 4, 4)).astype(np.uint8)
    colour = np.zeros((90, 4, 4, 3), dtype=np.uint8)
    colour[np.arange(90), :, :, labels] = 100
    assert histogram_accuracy(train, labels, colour, labels, bins=256) == 1.0


def test_bins_are_equal_parts_of_0_to_255() -> None:
    labels = np.arange(80) % 2
    for low, high, told in ((127, 128, True), (128, 255, False), (0, 127, False)):
        images = np.broadcast_to(np.array([low, high])[labels][:, None, None], (80, 2, 2)).astype(np.uint8)
        accuracy = histogram_accuracy(images[:40], labels[:40], images[40:], labels[40:], bins=2)
        assert accuracy == (1.0 if told else 0.5)


def test_same_answer_twice_and_for_another_image_size() -> None:
    train, val = constant_grey(100, 0), constant_grey(50, 1)
    noisy = (train[0] + np.random.default_rng(0).integers(0, 30, train[0].shape)).astype(np.uint8)
    first = histogram_accuracy(noisy, train[1], *val)
    assert histogram_accuracy(noisy, train[1], *val) == first
    enlarged = val[0].repeat(3, axis=1).repeat(2, axis=2)
    assert histogram_accuracy(noisy, train[1], enlarged, val[1]) == first


def test_scikit_learn_is_not_imported_with_the_module() -> None:
    code = "import sys, datamodules.batches.histogram; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_hard_set_raises_no_warning() -> None:
    # Labels that nothing explains: warnings are errors here, so one about convergence would fail.
    total, rng = 3000, np.random.default_rng(0)
    images = rng.integers(0, 256, (total, 8, 8)).astype(np.uint8)
    labels = rng.integers(0, 7, total)
    assert 0.0 < histogram_accuracy(images, labels, images, labels) < 0.5
