"""The baseline: a linear classifier on grey-level histograms, without any spatial information."""

import warnings

import numpy as np
import numpy.typing as npt

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_ITERATIONS = 300
_BLOCK = 64  # images at once: a pixel takes some 40 bytes on the way


def histogram_predictions(
    train_images: npt.NDArray[np.uint8],
    train_labels: npt.NDArray[np.int64],
    val_images: npt.NDArray[np.uint8],
    bins: int = 64,
) -> npt.NDArray[np.int64]:
    """What multinomial logistic regression on normalised grey-level histograms predicts.

    A baseline: a network that does not beat it has learnt no texture. The solver (L-BFGS) runs for at most
    300 iterations, of which the embedded dld domain needs about 110; where they do not suffice, the
    regression is taken as far as it came, without a warning. Classes are not weighed.

    Args:
        train_images: uint8, shape (N, H, W), or (N, H, W, 3), which is reduced to luma (ITU-R BT.601).
        train_labels: Shape (N,); two classes or more.
        val_images: uint8, shape (M, H', W') or (M, H', W', 3); one or more.
        bins: Number of equal bins over 0 to 255.

    Returns:
        The class of each evaluation image, int64, (M,); the same at every call.
    """
    # Imported here: scikit-learn takes a second to import, and is asked for at a stage run's end only.
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
    predicted = model.predict(scaler.transform(_histograms(val_images, bins)))
    return np.asarray(predicted, dtype=np.int64)


def histogram_accuracy(
    train_images: npt.NDArray[np.uint8],
    train_labels: npt.NDArray[np.int64],
    val_images: npt.NDArray[np.uint8],
    val_labels: npt.NDArray[np.int64],
    bins: int = 64,
) -> float:
    """Share of the evaluation images that `histogram_predictions` classifies correctly, 0 to 1."""
    predicted = histogram_predictions(train_images, train_labels, val_images, bins)
    return float(np.mean(predicted == val_labels))


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
