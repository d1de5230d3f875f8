"""The baseline: accuracy of a linear classifier on grey-level histograms, without any spatial information."""

import warnings

import numpy as np
import numpy.typing as npt

from datamodules.domain import Side

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_ITERATIONS = 300
_BLOCK = 64  # images at once: a pixel takes some 40 bytes on the way


def histogram_accuracy(
    train_images: npt.NDArray[np.uint8],
    train_labels: npt.NDArray[np.int64],
    val_images: npt.NDArray[np.uint8],
    val_labels: npt.NDArray[np.int64],
    bins: int = 64,
) -> float:
    """Accuracy of multinomial logistic regression on normalised grey-level histograms.

    A baseline: a network that does not beat it has learnt no texture. The solver (L-BFGS) runs for at most
    300 iterations, of which the embedded dld domain needs about 110; where they do not suffice, the accuracy
    is that of the regression as far as it came, without a warning.

    Args:
        train_images: uint8, shape (N, H, W), or (N, H, W, 3), which is reduced to luma (ITU-R BT.601).
        train_labels: Shape (N,); two classes or more.
        val_images: uint8, shape (M, H', W') or (M, H', W', 3).
        val_labels: Shape (M,).
        bins: Number of equal bins over 0 to 255.

    Returns:
        Share of the evaluation images classified correctly, 0 to 1; the same at every call.
    """
    # Imported here: scikit-learn takes a second to import, and most stage runs do not ask for the baseline.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    scaler = StandardScaler()
    train = scaler.fit_transform(_histograms(train_images, bins))
    model = LogisticRegression(C=0.1, max_iter=_ITERATIONS)
    # One thread: the sums are too small for more, which only wait for each other on a busy machine.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, train_labels)
    return float(model.score(scaler.transform(_histograms(val_images, bins)), val_labels))


def baseline(train: Side, val: Side) -> float | None:
    """`histogram_accuracy` of two sides; None where images are not in memory, or none are for evaluation."""
    if not (isinstance(train.images, np.ndarray) and isinstance(val.images, np.ndarray) and len(val)):
        return None
    return histogram_accuracy(train.images, train.labels, val.images, val.labels)


def _histograms(images: npt.NDArray[np.uint8], bins: int) -> npt.NDArray[np.float64]:
    """Normalised grey-level histograms, shape (N, bins), each summing to 1."""
    parts = [_counts(images[start : start + _BLOCK], bins) for start in range(0, len(images), _BLOCK)]
    counts = np.concatenate(parts)
    histograms: npt.NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return histograms


def _counts(images: npt.NDArray[np.uint8], bins: int) -> npt.NDArray[np.int64]:
    grey = images if images.ndim == 3 else np.rint(images @ _LUMA).astype(np.uint8)
    level = (grey.reshape(len(grey), -1).astype(np.int64) * bins) // 256
    level += np.arange(len(grey))[:, None] * bins
    counts: npt.NDArray[np.int64] = np.bincount(level.ravel(), minlength=len(grey) * bins)
    return counts.reshape(len(grey), bins)
