"""Insertion and deletion curves: does a map point at what the network uses (Petsiuk et al. 2018, RISE)?

The hottest parts of an image are removed, or shown first, and the class's probability is watched. The parts
are tiles, not single pixels: scattered missing pixels are a kind of noise that networks were not trained on,
and they change the prediction wherever they are.
"""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from analysis.explain.layers import evaluating, hooked, run
from stages.errors import RelayError, unknown_name
from stages.seeds import seeded_order

Mode = Literal["deletion", "insertion"]

_RANDOM_ORDERS = 3


def tile_order(heat: Tensor, tiles: int) -> Tensor:
    """The tiles of each image by their mean heat, hottest first.

    Pixel i of a side of S px is in tile floor(i tiles / S); where S is not a multiple, tiles differ by one
    pixel. The means are over exactly the pixels that `curve` replaces (adaptive pooling's bins overlap).

    Args:
        heat: (N, H, W), finite; see `analysis.explain.sanity_checks.heat`.
        tiles: Tiles per side, 1 to the shorter side in pixels.

    Returns:
        (N, tiles * tiles), int64: row * tiles + column of each tile. Ties are in this order too.

    Raises:
        RelayError: If the shape is another, the heat is not finite, or there are more tiles than pixels.
    """
    if heat.dim() != 3:
        raise RelayError(f"heat has shape {tuple(heat.shape)}; give (N, H, W)")
    if not bool(torch.isfinite(heat).all()):
        raise RelayError("heat holds NaN or infinite values, which have no order")
    _check_tiles(tiles, heat.shape[1], heat.shape[2])
    rows, columns = (
        nn.functional.one_hot(_tile_of(side, tiles), tiles).to(torch.float64) for side in heat.shape[1:]
    )
    # Sums by 0 and 1 are exact for float32 heat in float64, so that equal means are equal bits, and ties.
    sums = rows.T @ heat.detach().to("cpu", torch.float64) @ columns
    means = sums / (rows.sum(0)[:, None] * columns.sum(0))
    return means.flatten(1).argsort(dim=1, descending=True, stable=True).to(heat.device)


def random_orders(images: int, tiles: int, seed: int) -> Tensor:
    """Tiles in a random order, as a reference for `tile_order`.

    Each image has its own order by `stages.seeds.seeded_order`: it does not depend on how many images there
    are.

    Args:
        images: Number of images N, 0 or more.
        tiles: Tiles per side, at least 1.
        seed: 0 or more.

    Returns:
        (N, tiles * tiles), int64, each row a permutation.

    Raises:
        RelayError: If a number is out of range.
    """
    if images < 0 or tiles < 1 or seed < 0:
        raise RelayError(f"{images} images, {tiles} tiles per side, seed {seed}; give at least 0, 1 and 0")
    orders = np.empty((images, tiles * tiles), dtype=np.int64)
    for image in range(images):
        orders[image] = seeded_order(tiles * tiles, seed, image)
    return torch.from_numpy(orders)


def insertion_deletion(
    network: nn.Module, images: Tensor, heat: Tensor, *, tiles: int, steps: int, batch_size: int = 32
) -> dict[str, Tensor]:
    """Curves of the class that a network predicts, hottest tiles first and in random orders.

    Args:
        network: See `curve`.
        images: (N, C, H, W), see `curve`.
        heat: (N, H, W), see `tile_order`.
        tiles: Tiles per side.
        steps: See `curve`.
        batch_size: Images at once, at least 1.

    Returns:
        `deletion`, `insertion`, and the same names with `_random`, the mean over random orders; each
        (N, steps + 1), see `curve`.

    Raises:
        RelayError: As `tile_order` and `curve`.
    """
    with evaluating(network), torch.no_grad():
        classes = torch.cat([network(batch).argmax(1) for batch in torch.split(images, batch_size)])
    orders = [tile_order(heat, tiles)]
    orders += [random_orders(len(images), tiles, seed) for seed in range(_RANDOM_ORDERS)]
    found: dict[str, Tensor] = {}
    for mode in get_args(Mode):
        hottest, *random = (
            curve(network, images, order, classes, mode=mode, tiles=tiles, steps=steps, batch_size=batch_size)
            for order in orders
        )
        found[mode], found[f"{mode}_random"] = hottest, torch.stack(random).mean(0)
    return found


def curve(
    network: nn.Module,
    images: Tensor,
    order: Tensor,
    classes: Tensor,
    *,
    mode: Mode,
    tiles: int,
    steps: int,
    baseline: Tensor | float = 0.0,
    batch_size: int = 32,
) -> Tensor:
    """Probability of each image's class while its tiles are removed (deletion) or shown (insertion).

    Petsiuk et al. 2018, with tiles instead of pixels. `batch_size` bounds the memory, beside that of the
    arguments.

    Args:
        network: From images to logits (N, classes); used in evaluation mode, and its modes put back.
        images: (N, C, H, W), as the network takes them, on its device.
        order: (N, tiles * tiles), the tiles of each image, the one to be removed or shown first in front.
        classes: (N,), int64, the class whose probability is watched.
        mode: `deletion`, from the whole image to the baseline; `insertion`, from the baseline to the image.
        tiles: Tiles per side; see `tile_order`.
        steps: 1 to tiles * tiles. At step k the nearest whole number of tiles to the share k / steps.
        baseline: What replaces a tile that is not shown: a number, or a tensor that broadcasts to the images,
            such as the blurred images. For standardised images 0 is the training set's mean colour.
        batch_size: Images at once, at least 1.

    Returns:
        (N, steps + 1), float64, on the CPU: softmax probabilities at shares 0, 1 / steps, ... 1.

    Raises:
        RelayError: If a shape, number or mode does not fit, a row of the order is not a permutation, the
            network does not take the images, or has no such class.
    """
    order, classes = order.cpu(), classes.cpu()
    _check(images, order, classes, mode=mode, tiles=tiles, steps=steps, batch_size=batch_size)
    background = _expanded(baseline, images)
    ranks = order.argsort(dim=1)  # of each tile, its place in the order
    tile = _tile_of(images.shape[2], tiles)[:, None] * tiles + _tile_of(images.shape[3], tiles)
    total = tiles * tiles
    counts = [(2 * k * total + steps) // (2 * steps) for k in range(steps + 1)]  # nearest, half up
    probabilities = torch.empty(len(images), steps + 1, dtype=torch.float64)
    with evaluating(network), torch.no_grad():
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            begun, ended = images[part], background[part]
            if mode == "insertion":
                begun, ended = ended, begun
            place = ranks[part][:, tile].unsqueeze(1).to(images.device)  # (B, 1, H, W)
            for step, count in enumerate(counts):
                shown = torch.where(place < count, ended, begun)
                probabilities[part, step] = _probability(network, shown, classes[part])
    return probabilities


def _tile_of(side: int, tiles: int) -> Tensor:
    """The row or column of tiles that each of a side's pixels is in, (side,)."""
    return torch.arange(side) * tiles // side


def _check(
    images: Tensor, order: Tensor, classes: Tensor, *, mode: str, tiles: int, steps: int, batch_size: int
) -> None:
    if mode not in get_args(Mode):
        raise unknown_name("mode", mode, get_args(Mode))
    if images.dim() != 4:
        raise RelayError(f"images have shape {tuple(images.shape)}; give (N, C, H, W)")
    _check_tiles(tiles, images.shape[2], images.shape[3])
    if not 1 <= steps <= tiles * tiles:
        raise RelayError(f"{steps} steps; give 1 to {tiles * tiles}, the number of tiles")
    if batch_size < 1:
        raise RelayError(f"batch_size is {batch_size}; give at least 1")
    _check_order(order, len(images), tiles * tiles)
    if classes.shape != (len(images),) or classes.dtype != torch.int64:
        raise RelayError(
            f"classes are {classes.dtype} of shape {tuple(classes.shape)}; give int64, ({len(images)},)"
        )


def _check_tiles(tiles: int, height: int, width: int) -> None:
    if not 1 <= tiles <= min(height, width):
        raise RelayError(f"{tiles} tiles per side on {height}x{width} px; give 1 to {min(height, width)}")


def _check_order(order: Tensor, images: int, total: int) -> None:
    if order.shape != (images, total):
        raise RelayError(f"the order has shape {tuple(order.shape)}; give ({images}, {total}): images, tiles")
    if not bool((order.sort(dim=1).values == torch.arange(total)).all()):
        raise RelayError(f"the order is not a permutation of the tiles 0 to {total - 1} in every row")


def _expanded(baseline: Tensor | float, images: Tensor) -> Tensor:
    """The baseline in the images' shape, as a view where it is the same for several."""
    values = torch.as_tensor(baseline, dtype=images.dtype, device=images.device)
    try:
        return values.expand(images.shape)
    except RuntimeError as error:
        raise RelayError(
            f"the baseline has shape {tuple(values.shape)}, which does not broadcast to the images' "
            f"{tuple(images.shape)}"
        ) from error


def _probability(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    found: list[Tensor] = []
    with hooked() as handles:
        handles.append(network.register_forward_hook(lambda _module, _inputs, output: found.append(output)))
        run(network, images)
    logits = found[-1]
    if logits.dim() != 2:
        raise RelayError(
            f"{type(network).__name__} gives {tuple(logits.shape)}; give a network of logits (N, K)"
        )
    if not bool(((classes >= 0) & (classes < logits.shape[1])).all()):
        raise RelayError(
            f"classes are {int(classes.min())} to {int(classes.max())}; the network has "
            f"0 to {logits.shape[1] - 1}"
        )
    return logits.cpu().softmax(1, dtype=torch.float64).gather(1, classes[:, None]).squeeze(1)
