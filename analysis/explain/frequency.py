"""Frequency response of a network's features (paper, section 7.2, Eqs. 6 to 8).

A reference image holds one spatial frequency in one direction. How much of it comes back after the forward
path and then the backward path says how salient that frequency is to the features.

Two statements of the paper are corrected here. Figure 8's caption sets the points (w, theta) and (w, -theta);
an image is real only for (w, theta) and (w, theta + pi), which is what the figure shows. And Eq. 6 divides by
the squared norm, which gives cosines of amplitude 1, not images of "fixed norm"; `norm="unit"` divides by the
norm.
"""

import copy
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from analysis.explain.choices import Directions, Norm, Precision, Rule
from analysis.explain.desalinet import path_back
from analysis.explain.layers import Reached, evaluating, hooked, run, tap_of
from analysis.explain.reference_images import check_waves, circle, wave, waves
from analysis.explain.response_curves import Curve
from stages.checks import is_whole
from stages.errors import RelayError, unknown_name


def reference_image(
    size: int, omega: float, theta: float, norm: Norm = "paper", *, directions: Directions = "grid"
) -> Tensor:
    r"""The image with a single frequency in a single direction (Eqs. 6 and 7).

    The inverse Fourier transform of an image that is 1 at (omega, theta) and at (omega, theta + pi), both in
    polar coordinates around zero frequency, and 0 elsewhere; divided by its squared Frobenius norm (`paper`)
    or by its norm (`unit`). Where the two points are the same, at zero and at half the size along an axis or
    a diagonal, this point is 1. So `paper` gives cosines of amplitude 1, whatever the size; off the grid,
    where a cosine's norm depends on where it is cut off, this amplitude is kept.

    Args:
        size: Height and width in pixels, at least 2.
        omega: Cycles per image, from 0 to half the size.
        theta: Direction in radians; 0 is along the columns (x), pi / 2 along the rows (y).
        norm: See above.
        directions: `grid` takes the point of the Fourier grid that is nearest to (omega, theta), `cosine`
            exactly this frequency, which does not repeat at the image's edge.

    Returns:
        float64, (size, size).

    Raises:
        RelayError: If a value is out of range or unknown.

    Examples:
        >>> reference_image(4, omega=2, theta=0.0)[0]
        tensor([ 1., -1.,  1., -1.], dtype=torch.float64)
    """
    return torch.from_numpy(wave(size, omega, theta, norm, directions))


def frequency_response(
    network: nn.Module,
    size: int = 224,
    layer: str | None = None,
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

    Eq. 8 is the sum. It is divided by the number of directions because this number differs: a small circle
    passes through few points of the grid, and without the division their number would shape the curve.

    Args:
        network: See `analysis.explain.desalinet.backward`; its first layer's channels all get the same image.
        size: Height and width of the images in pixels, at least 2.
        layer: Whose features; those of the network's default tap if None.
        rule: Of the backward path.
        norm: Of the reference images, see `reference_image`.
        directions: `grid`, the distinct points of the Fourier grid nearest to `count` equally spaced
            directions in [0, pi); or `cosine`, these directions themselves.
        count: Of directions, at least 1.
        precision: Of the arithmetic. `bfloat16` is twice as fast on a processor that has it, and is what
            networks trained in `bf16-mixed` were trained in; benchmarks/README.md says what it changes.
        batch_size: Images at once, at least 1; bounds the memory.
        on_progress: Called after each batch with the number of images done and of all.

    Returns:
        omega in cycles per image, 0 to size // 2, and the gain at each, both float64, (size // 2 + 1,).

    Raises:
        RelayError: If a value is out of range or unknown, or the network cannot be mapped back.

    Examples:
        A network that hands its images on brings each frequency back as it was, with its squared norm:

        >>> network = nn.Sequential(nn.Conv2d(1, 1, kernel_size=1, bias=False))
        >>> _ = nn.init.ones_(network[0].weight)
        >>> omega, gain = frequency_response(network, size=8, layer="0")
        >>> omega.tolist(), gain[:4].round(3).tolist()
        ([0.0, 1.0, 2.0, 3.0, 4.0], [64.0, 32.0, 32.0, 32.0])
    """
    check_waves(size, norm, directions)
    layer = tap_of(network, layer)
    _check(count, batch_size, precision)
    circles = [circle(size, omega, directions, count) for omega in range(size // 2 + 1)]
    frequencies = np.concatenate(circles)
    gains: list[Tensor] = []
    with torch.inference_mode(False), torch.no_grad():
        channels = input_channels(network, size)
        copied = _copy(network, getattr(torch, precision))
        parameter = next(copied.parameters())
        for first in range(0, len(frequencies), batch_size):
            part = frequencies[first : first + batch_size]
            images = torch.from_numpy(waves(size, part, norm)).to(parameter)
            images = images[:, None].repeat(1, channels, 1, 1).contiguous(memory_format=torch.channels_last)
            maps = path_back(copied, images, layer, rule, strided_as_dense=True)
            gains.append(maps.float().square().sum(dim=(1, 2, 3), dtype=torch.float64).cpu())
            if on_progress is not None:
                on_progress(sum(map(len, gains)), len(frequencies))
    means = [gain.mean() for gain in torch.split(torch.cat(gains), [len(points) for points in circles])]
    return np.arange(len(circles), dtype=np.float64), torch.stack(means).numpy()


def _check(count: int, batch_size: int, precision: str) -> None:
    for name, value in (("count", count), ("batch_size", batch_size)):
        if not is_whole(value) or value < 1:
            raise RelayError(f"{name} is {value!r}; give a whole number, at least 1")
    if precision not in get_args(Precision):
        raise unknown_name("precision", precision, get_args(Precision))


def _copy(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy with its own arithmetic and memory format: in channels-last, pooling is ten times as fast."""
    try:
        copied = copy.deepcopy(network)
    except (RuntimeError, TypeError) as error:
        raise RelayError(
            f"{type(network).__name__} cannot be copied: {str(error).splitlines()[0]} What computes weights "
            "from others, as torch.nn.utils.weight_norm does, must be removed first (remove_weight_norm)."
        ) from error
    return copied.eval().to(dtype).to(memory_format=torch.channels_last)


def input_channels(network: nn.Module, size: int) -> int:
    """Channels of the images that a network takes: those of the first convolution that runs.

    Args:
        network: Any.
        size: Height and width of the images in pixels.

    Raises:
        RelayError: If the network does not take such images, or no convolution is the first to take them.
    """
    refusals: list[RelayError] = []
    entered: list[int] = []

    def before(module: Any, _inputs: Any) -> None:
        entered.append(module.in_channels)
        raise Reached

    convolutions = [
        module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with evaluating(network), torch.no_grad(), hooked() as handles:
        handles.extend(module.register_forward_pre_hook(before) for module in convolutions)
        for channels in dict.fromkeys(module.in_channels for module in convolutions):
            # A network may refuse other channels by itself, before any convolution.
            try:
                run(network, torch.zeros(1, channels, size, size).to(convolutions[0].weight))
            except RelayError as refusal:
                refusals.append(refusal)
            if entered[-1:] == [channels]:
                return channels
    if refusals:
        raise refusals[0]
    raise RelayError(
        f"{type(network).__name__} has no convolution to begin with, so that the channels of its images are "
        "not known"
    )
