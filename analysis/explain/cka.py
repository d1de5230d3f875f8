"""Similarity of two layers' features: linear centred kernel alignment (Kornblith et al. 2019).

Alignment compares which images are near each other in one layer and in the other. It does not depend on
rotation and scale, so layers of any size, and of different networks, can be compared.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from analysis.explain.layers import activations, find_layer
from stages.errors import RelayError

_BLOCK = 2**22
"""Values of the features taken to float64 at a time: 32 MiB."""

_ROUNDING = 1e-12
"""Share of a Gram matrix; what centring leaves below it is rounding errors of the float64 sums."""


def gram(features: Tensor) -> Tensor:
    """The products of every two images' features: X X^T.

    Summed in float64, a block of features at a time; there is no float64 copy of the whole.

    Args:
        features: (N, ...), N at least 1, of any real type; flattened to (N, D).

    Returns:
        (N, N), float64, on the features' device, not centred.

    Raises:
        RelayError: If there are no images, or features are NaN, infinite or too large to be squared.

    Examples:
        >>> gram(torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
        tensor([[1., 1.],
                [1., 5.]], dtype=torch.float64)
    """
    if features.dim() < 1 or not len(features):
        raise RelayError(f"features of shape {tuple(features.shape)} have no images; give (N, ...)")
    rows = features.detach().reshape(len(features), -1)
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for block in torch.split(rows, max(1, _BLOCK // len(rows)), dim=1):
        exact = block.to(torch.float64)
        products.addmm_(exact, exact.T)
    if not bool(torch.isfinite(products).all()):
        raise RelayError(
            "features hold NaN or infinite values; check that the weights and the images are finite"
        )
    return products


def layer_grams(
    network: nn.Module, images: Tensor, layers: Sequence[str], batch_size: int = 32
) -> dict[str, Tensor]:
    """The Gram matrix of each layer's features, in evaluation mode.

    One layer at a time, each by a forward pass that ends there. In memory are one layer's features of all
    images, in their own type and on the CPU, and one batch's on the network's device.

    Args:
        network: Any.
        images: (N, C, H, W), as the network takes them, on its device; N at least 1.
        layers: Their names; see `analysis.explain.layers.layer_names`.
        batch_size: Images at once, at least 1.

    Returns:
        By layer name, in the order given, (N, N) as `gram` gives it, on the CPU.

    Raises:
        RelayError: For an unknown layer, one that does not run, images that do not fit, or features that are
            not finite (names the layer).
    """
    for name in layers:
        find_layer(network, name)  # the last one's name is checked before the first one's pass
    grams = {}
    for name in layers:
        try:
            grams[name] = gram(_features(network, images, name, batch_size))
        except RelayError as error:
            raise RelayError(f"layer {name}: {error}") from error
    return grams


def linear_cka(first: Tensor, second: Tensor, debiased: bool = True) -> float:
    """Alignment of two layers, from their Gram matrices of the same images.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), Kornblith et al. 2019, Eqs. 3 and 4. `debiased` uses the
    unbiased estimator of HSIC (Song et al. 2012, as in Nguyen et al. 2021): with many more features than
    images the biased one goes to 1, even for features that have nothing in common.

    Args:
        first: (N, N), of `gram`; need not be centred.
        second: (N, N), of the same images in the same order.
        debiased: see above; needs 4 images, without it 2 do.

    Returns:
        Biased, 0 to 1. Debiased, -1 to 1, on average 0 for unrelated features. 1 for features that are equal
        up to rotation, reflection, shift and one scale. NaN, as 0 / 0, where one layer's features are
        constant over the images; debiased, also where they differ in one image only, or all images are
        equally similar.

    Raises:
        RelayError: If the matrices are not square or of different sizes, or there are too few images.

    Examples:
        Twice as large, and the other way round, the features of four images are as alike as before:

        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 3.0]])
        >>> round(linear_cka(gram(features), gram(-2 * features)), 6)
        1.0
    """
    for matrix in (first, second):
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            raise RelayError(f"a Gram matrix has shape {tuple(matrix.shape)}; give (N, N), as `gram` does")
    if first.shape != second.shape:
        raise RelayError(
            f"Gram matrices of {len(first)} and of {len(second)} images; give those of the same images"
        )
    least = 4 if debiased else 2
    if len(first) < least:
        kind = "debiased" if debiased else "biased"
        raise RelayError(f"{kind} alignment of {len(first)} images; give at least {least}")
    left, right = _centred(first, debiased), _centred(second, debiased)
    # HSIC(K, K) is a sum of squares up to a factor that cancels, with either estimator: so this is a cosine.
    cosine = (left * right).sum() / (left.norm() * right.norm())
    return float(cosine.clamp(-1.0, 1.0))  # NaN stays NaN


def _features(network: nn.Module, images: Tensor, name: str, batch_size: int) -> Tensor:
    """A layer's features of all images, (N, ...) on the CPU; `torch.cat` would hold them twice."""
    features: Tensor | None = None
    start = 0
    for batch in activations(network, images, [name], batch_size=batch_size):
        part = batch[name]
        if features is None:
            features = torch.empty((len(images), *part.shape[1:]), dtype=part.dtype, device="cpu")
        features[start : start + len(part)] = part
        start += len(part)
    assert features is not None  # splitting no images gives one batch of none
    return features


def _centred(matrix: Tensor, debiased: bool) -> Tensor:
    """Subtract row and column means; zero where only rounding errors are left.

    Debiased, the images' products with themselves are left out, and the means are unbiased: the U-centring of
    Szekely and Rizzo 2014, whose inner product over n (n - 3) is Song's estimator.
    """
    matrix = matrix.to(torch.float64)
    n = len(matrix)
    # The U-centred matrix of the centred one is the same, and large means are gone before the subtractions.
    centred = matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()
    if debiased:
        off = centred.fill_diagonal_(0.0)
        sums = off.sum(1)
        centred = off - sums / (n - 2) - sums[:, None] / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
        centred.fill_diagonal_(0.0)
    if bool(centred.norm() <= _ROUNDING * matrix.norm()):
        return torch.zeros_like(centred)
    return centred
