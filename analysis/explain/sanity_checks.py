"""Whether maps of an image depend on what the network has learned: the checks of Adebayo et al. 2018.

"Sanity checks for saliency maps": the layers are re-initialised one after another, from the last to the
first, and the maps are compared with the trained network's. A map that stays the same shows the image, not
the network.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from scipy import stats
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from analysis.explain.choices import Rule
from analysis.explain.desalinet import backward, modules_until
from lightning_modules.build import specification
from lightning_modules.initialisation import initialise_layers
from lightning_modules.layers import layer_modules
from stages.errors import RelayError

_BATCH = 32  # images whose similarity is computed at once; each takes the memory of about twenty maps

# Of the random weights; not a training's seed: its first weights are what trained ones still resemble.
_RANDOM_WEIGHTS = 2018

_WINDOW = 11
"""Side in pixels of the window of structural similarity (Wang et al. 2004)."""


def heat(maps: Tensor) -> Tensor:
    """How much each pixel counts, in any colour and sign: the root of the sum of squares over channels.

    Args:
        maps: (N, C, H, W), such as `analysis.explain.desalinet.backward` gives.

    Returns:
        (N, H, W), 0 or more.

    Raises:
        RelayError: If the maps have another number of dimensions.
    """
    if maps.dim() != 4:
        raise RelayError(f"maps have shape {tuple(maps.shape)}; give (N, C, H, W)")
    norms: Tensor = torch.linalg.vector_norm(maps, dim=1)
    return norms


def rank_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps of each image, over its pixels; ties get their mean rank.

    Args:
        first: (N, H, W), such as `heat` gives; finite.
        second: the same shape.

    Returns:
        (N,), float64, on the CPU, -1 to 1; NaN where a map is constant.

    Raises:
        RelayError: If the shapes are others, or values are not finite.
    """
    _check(first, second)
    if not first.numel():
        return torch.full((len(first),), torch.nan, dtype=torch.float64)
    left, right = (
        torch.from_numpy(stats.rankdata(stack.detach().flatten(1).cpu().numpy(), axis=1)).to(torch.float64)
        for stack in (first, second)
    )
    mean = (left.shape[1] + 1) / 2  # of ranks, exactly; so those of a constant map become exactly 0
    left, right = left - mean, right - mean
    correlation: Tensor = (left * right).sum(1) / (left.norm(dim=1) * right.norm(dim=1))
    return correlation.clamp(-1.0, 1.0)


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of two maps of each image, each divided by its own maximum.

    The window is Gaussian, 11 px wide with a standard deviation of 1.5 px, and the range of values 1.

    Args:
        first: (N, H, W), such as `heat` gives; finite, 0 or more; H and W at least 11 px.
        second: the same shape.

    Returns:
        (N,), float64 computed in float32, on the CPU, -1 to 1 and 1 for equal maps; NaN where a map is all
        zero.

    Raises:
        RelayError: If the shapes are others, or values are negative or not finite.
    """
    _check(first, second)
    if min(first.shape[1:]) < _WINDOW:
        height, width = first.shape[1:]
        raise RelayError(f"maps of {height}x{width} px; structural similarity needs {_WINDOW}x{_WINDOW} px")
    if bool((first < 0).any() or (second < 0).any()):
        raise RelayError("maps hold negative values; give `heat` of them")
    similarities = [
        _structural_similarity(left.detach(), right.detach())
        for left, right in zip(torch.split(first, _BATCH), torch.split(second, _BATCH), strict=True)
        if len(left)
    ]
    return torch.cat(similarities) if similarities else torch.empty(0, dtype=torch.float64)


def weight_randomisation(
    network: nn.Module, images: Tensor, trained: Tensor, layer: str, rule: Rule, scheme: str
) -> tuple[list[str], Tensor, Tensor]:
    """How similar the maps of a network are to those of it with more and more layers re-initialised.

    Args:
        network: A trained one that `build_network` made.
        images: (N, C, H, W), as the network takes them.
        trained: `heat` of the trained network's maps of them, (N, H, W).
        layer: Whose features are mapped back.
        rule: Of the backward path.
        scheme: See `randomisations`.

    Returns:
        The names of the L layers that the backward path passes, the last one first, each re-initialised with
        those before it; `rank_similarity` and `structural_similarity` at each step, (L, N).

    Raises:
        RelayError: As `analysis.explain.desalinet.backward` and `randomisations`.
    """
    path = modules_until(network, images[:1], layer)
    layers = [
        described.name
        for described in specification(network).layers
        if described.own
        or any(each == described.path or each.startswith(f"{described.path}.") for each in path)
    ]
    order, rank, structure = [], [], []
    for name, randomised in randomisations(network, layers, scheme, _RANDOM_WEIGHTS):
        random = heat(backward(randomised, images, layer, rule))
        order.append(name)
        rank.append(rank_similarity(trained, random))
        structure.append(structural_similarity(trained, random))
    return order, torch.stack(rank), torch.stack(structure)


def randomisations(
    network: nn.Module, layers: Sequence[str], scheme: str, seed: int
) -> Iterator[tuple[str, nn.Module]]:
    """Cascading randomisation: the network with its last layer re-initialised, then its last two, and so on.

    Adebayo et al. 2018. The given network is left as it is. There is one copy, which is randomised further
    between two steps: compute what is needed from it before the next step is asked for.

    Args:
        network: A trained one that `build_network` made.
        layers: Names of layers of the network's specification, first to last; others stay trained.
        scheme: See `lightning_modules.initialisation.initialise_layers`.
        seed: 0 or more, and not the one that the network started from: its weights after training are still
            similar to those before it, so that the copy would not be random.

    Returns:
        An iterator over (name, copy), from the last layer to the first; in the copy this layer and all later
        ones of `layers` are freshly initialised.

    Raises:
        RelayError: At once, before the first step: if a layer is unknown, repeated or out of order, the seed
            is negative, the scheme unknown or the network has no specification.
    """
    known = list(layer_modules(network))
    unknown = [name for name in layers if name not in known]
    if unknown:
        raise RelayError(
            f"no layer {', '.join(unknown)} to re-initialise; those with parameters are {', '.join(known)}"
        )
    ordered = [name for name in known if name in layers]
    if list(layers) != ordered:
        raise RelayError(
            f"layers to randomise are {', '.join(layers)}; name each once, in the network's order: "
            f"{', '.join(ordered)}"
        )
    randomised = copy.deepcopy(network)
    initialise_layers(randomised, ordered[-1:], scheme, seed)  # the first step's, now: checks scheme and seed

    def steps() -> Iterator[tuple[str, nn.Module]]:
        for name in reversed(ordered):
            initialise_layers(randomised, [name], scheme, seed)
            yield name, randomised

    return steps()


def _check(first: Tensor, second: Tensor) -> None:
    if first.dim() != 3 or first.shape != second.shape:
        raise RelayError(
            f"maps have shapes {tuple(first.shape)} and {tuple(second.shape)}; "
            "give (N, H, W) twice, as `heat` does"
        )
    if not bool(torch.isfinite(first).all() and torch.isfinite(second).all()):
        raise RelayError("maps hold NaN or infinite values, which cannot be compared")


def _structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    left, right = (stack.to("cpu", torch.float64)[:, None] for stack in (first, second))
    highest, other = left.amax((1, 2, 3), keepdim=True), right.amax((1, 2, 3), keepdim=True)
    # A map of zeros becomes NaN by 0 / 0, and with it the similarity of this image alone.
    # float32 from here on: torch's float64 convolution is many times slower, and the range is 1.
    similarity = structural_similarity_index_measure(
        (left / highest).float(), (right / other).float(), reduction="none", data_range=1.0
    )
    assert isinstance(similarity, Tensor)  # a pair only where the full image is asked for
    return similarity.reshape(len(first)).to(torch.float64)
