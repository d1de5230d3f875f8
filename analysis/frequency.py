"""Frequency response of a network's features (paper, section 7.2, Eqs. 6 to 8).

A reference image holds one spatial frequency in one direction. How much of it comes back along the backward
path of the forward path says how salient that frequency is to the features.

Two things of the paper are read as they must be. Figure 8's caption sets the points (w, theta) and (w,
-theta); an image is real only for (w, theta) and (w, theta + pi), which its drawing shows. And Eq. 6
divides by the squared norm, which gives cosines of amplitude 1, not images of "fixed norm"; `norm="unit"`
divides by the norm.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import find_peaks, savgol_filter
from torch import Tensor, nn

from analysis.desalinet import path_back
from analysis.reverses import Rule
from stages.errors import RelayError

Norm = Literal["paper", "unit"]
Directions = Literal["grid", "cosine"]
Precision = Literal["float32", "bfloat16"]
Curve = npt.NDArray[np.float64]


def reference_image(
    size: int, omega: float, theta: float, norm: Norm = "paper", *, directions: Directions = "grid"
) -> Tensor:
    r"""The image with a single frequency in a single direction (Eqs. 6 and 7).

    The inverse Fourier transform of an image that is 1 at (omega, theta) and at (omega, theta + pi), both in
    polar coordinates around zero frequency, and 0 elsewhere; divided by its squared Frobenius norm (`paper`)
    or by its norm (`unit`). Where the two points are one, at zero and at half the size along an axis or a
    diagonal, that one is 1. So `paper` gives cosines of amplitude 1, whatever the size.

    Args:
        size: height and width in pixels, at least 2.
        omega: cycles per image, from 0 to half the size.
        theta: direction in radians; 0 is along the columns (x), pi / 2 along the rows (y).
        norm: see above.
        directions: `grid` takes the point of the Fourier grid that is nearest to (omega, theta), `cosine`
            that very frequency, which does not repeat at the image's edge.

    Returns:
        float64, (size, size).

    Raises:
        RelayError: if a value is out of range or unknown.
    """
    _check(size, norm, directions)
    if not 0 <= omega <= size / 2:
        raise RelayError(f"omega is {omega}; give 0 to {size / 2:g} cycles per image of {size} px")
    if not math.isfinite(theta):
        raise RelayError(f"theta is {theta}; give radians")
    frequency = torch.tensor([[omega * math.cos(theta), omega * math.sin(theta)]], dtype=torch.float64)
    if directions == "grid":
        frequency = frequency.round()
    return _images(size, frequency, norm)[0]


def frequency_response(
    network: nn.Module,
    size: int = 224,
    layer: str = "pool5",
    rule: Rule = "desalinet",
    *,
    norm: Norm = "paper",
    directions: Directions = "grid",
    count: int = 180,
    precision: Precision = "float32",
    batch_size: int = 32,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Curve, Curve]:
    r"""Gain of a network's features at every frequency (Eq. 8), as a mean over directions.

    .. math:: G(\omega) = \frac{1}{|\Theta|} \sum_{\theta \in \Theta}
        \lVert (\phi^\dagger \circ \phi)(f(\omega, \theta)) \rVert_2^2

    Eq. 8 is the sum. It is divided by the number of directions because that number differs: a small circle
    passes through few points of the grid, and without the division its count would shape the curve.

    Args:
        network: see `analysis.desalinet.backward`; its first layer's channels all get the same image.
        size: height and width of the images in pixels, at least 2.
        layer: whose features.
        rule: of the backward path.
        norm: of the reference images, see `reference_image`.
        directions: `grid`, the distinct points of the Fourier grid nearest to `count` equally spaced
            directions in [0, pi); or `cosine`, these directions themselves.
        count: of directions, at least 1.
        precision: of the arithmetic. `bfloat16` is twice as fast on a processor that has it, and is what
            networks trained in `bf16-mixed` were trained in; benchmarks/README.md says what it changes.
        batch_size: images at once, at least 1; bounds the memory.
        on_progress: called after each batch with the number of images done and of all.

    Returns:
        omega in cycles per image, 0 to size // 2, and the gain at each, both float64, (size // 2 + 1,).

    Raises:
        RelayError: if a value is out of range or unknown, or the network cannot be mapped back.
    """
    _check(size, norm, directions)
    if count < 1 or batch_size < 1:
        raise RelayError(f"count is {count}, batch_size {batch_size}; both are at least 1")
    if precision not in get_args(Precision):
        raise RelayError(f"precision is {precision!r}; choose one of {', '.join(get_args(Precision))}")
    channels = input_channels(network)
    # A copy, for its own arithmetic and memory format: in channels-last, pooling is ten times as fast.
    copied = copy.deepcopy(network).eval().to(getattr(torch, precision)).to(memory_format=torch.channels_last)
    parameter = next(copied.parameters())
    circles = [_circle(size, omega, directions, count) for omega in range(size // 2 + 1)]
    frequencies = torch.cat(circles)
    gains: list[Tensor] = []
    for part in torch.split(frequencies, batch_size):
        images = _images(size, part, norm).to(parameter)
        images = images[:, None].repeat(1, channels, 1, 1).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            maps = path_back(copied, images, layer, rule, strided_as_dense=True)
        gains.append(maps.float().square().sum(dim=(1, 2, 3), dtype=torch.float64).cpu())
        if on_progress is not None:
            on_progress(sum(map(len, gains)), len(frequencies))
    means = [gain.mean() for gain in torch.split(torch.cat(gains), [len(circle) for circle in circles])]
    return np.arange(len(circles), dtype=np.float64), torch.stack(means).numpy()


def input_channels(network: nn.Module) -> int:
    """Channels of the images that a network takes: those of its first convolution.

    Raises:
        RelayError: if it has no convolution.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise RelayError(f"{type(network).__name__} has no convolution, so that it takes no images")


def normalised(gain: npt.ArrayLike) -> Curve:
    """A curve scaled to [0, 1] by its minimum and maximum (section 7.2); zeros if it is constant."""
    values = np.asarray(gain, dtype=np.float64)
    lowest, highest = values.min(), values.max()
    if highest == lowest:
        return np.zeros_like(values)
    return np.asarray((values - lowest) / (highest - lowest))


def smoothed(curve: npt.ArrayLike, window: int = 11) -> Curve:
    """A curve after a second-order Savitzky-Golay filter (section 7.2).

    Args:
        curve: (N,), N at least `window`.
        window: frequencies in the filter, odd and at least 3; the paper does not give it.

    Raises:
        RelayError: if the window does not fit.
    """
    values = np.asarray(curve, dtype=np.float64)
    if window < 3 or window % 2 == 0 or window > len(values):
        raise RelayError(f"window is {window}; give an odd number from 3 to {len(values)}, the frequencies")
    return np.asarray(savgol_filter(values, window, polyorder=2))


@dataclass(frozen=True)
class Peak:
    """A local maximum of a response.

    Attributes:
        omega: cycles per image.
        height: in the curve's unit.
        prominence: how far the curve falls on its lower side before it rises higher than the peak.
    """

    omega: float
    height: float
    prominence: float


def peaks(omega: npt.ArrayLike, curve: npt.ArrayLike, least_prominence: float = 0.05) -> list[Peak]:
    """A response's peaks, the most prominent first (scipy.signal.find_peaks; both ends may be peaks).

    Args:
        omega: cycles per image, (N,), rising.
        curve: (N,).
        least_prominence: of a peak, in the curve's unit.
    """
    places, values = np.asarray(omega, dtype=np.float64), np.asarray(curve, dtype=np.float64)
    floor = values.min() - 1.0  # below the curve on both sides, so that an end can be a maximum
    found, properties = find_peaks(np.concatenate([[floor], values, [floor]]), prominence=least_prominence)
    listed = []
    for at, prominence in zip(found - 1, properties["prominences"], strict=True):
        fall = min(float(prominence), float(values[at] - values.min()))
        if fall >= least_prominence:
            listed.append(Peak(float(places[at]), float(values[at]), fall))
    return sorted(listed, key=lambda peak: -peak.prominence)


def _circle(size: int, omega: int, directions: Directions, count: int) -> Tensor:
    """Frequencies (x, y) in cycles per image on a circle, (M, 2), each once; opposite ones are the same."""
    theta = torch.arange(count, dtype=torch.float64) * (math.pi / count)
    points = omega * torch.stack([theta.cos(), theta.sin()], dim=1)
    if omega == 0:
        return points[:1]
    if directions == "cosine":
        return points
    points = points.round()
    # The two points of a pair, and half the size up and down, are the same image: one name for each.
    opposite = (-points).remainder(size)
    points = points.remainder(size)
    first = points[:, 0] * size + points[:, 1]
    second = opposite[:, 0] * size + opposite[:, 1]
    names = torch.unique(torch.minimum(first, second))
    return torch.stack([names.div(size, rounding_mode="floor"), names.remainder(size)], dim=1)


def _images(size: int, frequencies: Tensor, norm: Norm) -> Tensor:
    """Cosines of frequencies (M, 2), in cycles per image along x and y: (M, size, size), float64."""
    place = torch.arange(size, dtype=torch.float64)
    x, y = (frequencies[:, axis, None] * place for axis in (0, 1))
    whole = bool((frequencies == frequencies.round()).all())
    if whole:  # exact angles: a whole number of turns is taken off before any rounding
        x, y = x.remainder(size), y.remainder(size)
    turns = (y[:, :, None] + x[:, None, :]) / size
    images = torch.cos(2 * math.pi * turns)
    if norm == "paper":
        return images
    return images / images.square().sum(dim=(1, 2), keepdim=True).sqrt()


def _check(size: int, norm: str, directions: str) -> None:
    if size < 2:
        raise RelayError(f"size is {size}; give at least 2 px")
    if norm not in get_args(Norm):
        raise RelayError(f"norm is {norm!r}; choose one of {', '.join(get_args(Norm))}")
    if directions not in get_args(Directions):
        raise RelayError(f"directions is {directions!r}; choose one of {', '.join(get_args(Directions))}")
