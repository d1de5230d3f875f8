"""The values of images, measured: of each file as it stores them, and of a set in a few numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.values import Values

_AIR, _DENSE = -900, 1000  # HU; between lie lung, tissue and most bone
_REST = 0.01  # share of the images that may reach further, such as those with a mark burnt in
_SIDE = 64  # pixels of a side that histograms and colours are taken of, evenly spread
_MOST = 4096  # images likewise
_AT_ONCE = 256  # images counted at a time
_FEW = 3  # images of a class or side: fewer say nothing of it
_COLORLESS = 8  # levels between the channels of a grey picture that was saved as a JPEG in colour


@dataclass(frozen=True, slots=True)
class StoredValues:
    """Of one image of more than 8 bits, as its file stores it; see `stages.values.Values`."""

    low: float
    high: float
    black: float
    white: float
    below: float
    above: float
    air: float | None
    dense: float | None


Known = tuple[StoredValues | None, bool]
"""Of a decoded image: its values, None where they are of 8 bits; whether its file shows colours."""


def stored_values(
    images: npt.NDArray[Any], window: tuple[float, float], *, hounsfield: bool
) -> list[StoredValues]:
    """Measure images as they are stored.

    Args:
        images: (N, H, W), not uint8.
        window: The values that become 0 and 255.
        hounsfield: Whether they are Hounsfield units.
    """
    axes = tuple(range(1, images.ndim))
    shares = [(images < window[0]).mean(axes), (images > window[1]).mean(axes)]
    shares += [(images < _AIR).mean(axes), (images > _DENSE).mean(axes)] if hounsfield else []
    columns = [images.min(axes), images.max(axes), *shares]
    return [
        StoredValues(low, high, *window, below, above, *(units or (None, None)))
        for low, high, below, above, *units in np.array(columns, np.float64).T.tolist()
    ]


def summarise(
    images: npt.NDArray[np.uint8],
    known: Sequence[Known],
    labels: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int64],
    of: int,
) -> Values:
    """The values of a set. Some milliseconds per thousand images of 32 pixels.

    Args:
        images: (N, H, W) or (N, H, W, 3), at least one: all of the set, or some, evenly spread.
        known: What is known of each.
        labels: Of each.
        sides: Of each: 0 is training, others are not.
        of: How many images the set has.
    """
    axes = tuple(range(1, images.ndim))
    kept = [values for values, _ in known if values is not None]
    deep = np.array([values is not None for values, _ in known])
    ends = np.array([images.min(axes), images.max(axes), np.zeros(len(images)), np.full(len(images), 255)])
    ends[:, deep] = (
        np.array([(each.low, each.high, each.black, each.white) for each in kept]).reshape(-1, 4).T
    )
    low, high = _reach(*ends[:2])
    black, white = ends[2:]
    alike = bool((black == black[0]).all() and (white == white[0]).all())
    share = _reach(*((end - black) / (white - black) for end in ends[:2]))
    hounsfield = [(each.air, each.dense) for each in kept if each.air is not None and each.dense is not None]
    measured = {
        "images": len(images),
        "of": of,
        "low": low if alike else None,
        "high": high if alike else None,
        "black": float(black[0]) if alike else None,
        "white": float(white[0]) if alike else None,
        "used": max(min(share[1], 1.0) - max(share[0], 0.0), 0.0),
        "below": _mean(each.below for each in kept),
        "above": _mean(each.above for each in kept),
        "air": _mean(air for air, _ in hounsfield),
        "dense": _mean(dense for _, dense in hounsfield),
        "eight_bit": float((~deep).mean()),
        "constant": float(_constant(images).mean()),
        "identical": len(images) > 1 and all(np.array_equal(image, images[0]) for image in images[1:]),
        "reduced": None if images.ndim == 4 else float(np.mean([colored for _, colored in known])),
    }
    return Values.model_validate(measured | _by_class(images, labels, sides))


def _reach(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> tuple[float, float]:
    ends = np.quantile(low, _REST, method="lower"), np.quantile(high, 1 - _REST, method="higher")
    return float(ends[0]), float(ends[1])


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def shows_color(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each of (N, H, W, 3) images is not grey."""
    red, green, blue = (images[..., channel] for channel in range(3))
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return np.asarray((most - least > _COLORLESS).any((1, 2)))


def _constant(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each image is of a single grey or colour."""
    axes = tuple(range(1, images.ndim))
    found = (images[:, ::8, ::8] == images[:, :1, :1]).all(axes)  # most are not, as a few pixels show
    for place in np.flatnonzero(found).tolist():
        found[place] = (images[place] == images[place, :1, :1]).all()
    return np.asarray(found)


def _by_class(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], sides: npt.NDArray[np.int64]
) -> dict[str, float | int | None]:
    """What histograms and colours say, of some pixels of some of the images."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(_MOST, len(images))).astype(np.int64))
    rows, columns = (max(1, length // _SIDE) for length in images.shape[1:3])
    labels, held = labels[chosen], (sides[chosen] != 0).astype(np.int64)
    classes = int(labels.max()) + 1
    counts = np.zeros((2 * classes * 256), np.int64)
    grey = np.zeros(len(chosen))
    for start in range(0, len(chosen), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        some = images[chosen[part], ::rows, ::columns]
        if some.ndim == 4:
            red, green, blue = (some[..., channel] for channel in range(3))
            most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
            grey[part] = (most - least <= _COLORLESS).all((1, 2))
        place = (held[part] * classes + labels[part]) * 256
        levels = some.reshape(len(some), -1) + place[:, None]
        counts += np.bincount(levels.ravel(), minlength=len(counts))
    histograms = counts.reshape(2, classes, 256).astype(np.float64)
    enough = np.flatnonzero(np.bincount(labels, minlength=classes) >= _FEW)
    of_class = _normalised(histograms.sum(0)[enough])
    nearest = [_most_alike(of_class, place) for place in range(len(enough))] if len(enough) > 1 else []
    apart = int(np.argmin(nearest)) if nearest else None
    both = np.bincount(held, minlength=2).min() >= _FEW
    shares = [float(grey[labels == label].mean()) for label in enough.tolist()]
    color = images.ndim == 4
    return {
        "levels": int((counts.reshape(-1, 256).sum(0) > 0).sum()),
        "grey": float(grey.mean()) if color else None,
        "grey_by_class": max(shares) - min(shares) if color and shares else None,
        "sides_overlap": float(_normalised(histograms.sum(1)).min(0).sum()) if both else None,
        "class_overlap": None if apart is None else nearest[apart],
        "class_apart": None if apart is None else int(enough[apart]),
    }


def _normalised(histograms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(histograms / histograms.sum(1, keepdims=True))


def _most_alike(histograms: npt.NDArray[np.float64], place: int) -> float:
    """The greatest part that a histogram has in common with another one."""
    common = np.minimum(histograms, histograms[place]).sum(1)
    return float(np.delete(common, place).max())
