"""Backward paths: which components of an image a layer's features come from (paper, 4.2 and appendix A.1).

The forward pass keeps autograd's graph (`analysis.explain.forward_trace`), and the way back follows it by the
rules of `analysis.explain.reverses`. A batch's graph is gone before the next batch's is made.
"""

from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge, saved_tensors_hooks

from analysis.explain.choices import Rule
from analysis.explain.forward_trace import ForwardTrace, is_finite
from analysis.explain.layers import evaluating, find_layer, tap_of
from analysis.explain.reverses import apply_rule
from stages.checks import is_whole
from stages.errors import RelayError, unknown_name

Signal = Tensor | Callable[[Tensor], Tensor] | None
"""What starts a backward path: None, the layer's features themselves (the paper); a tensor of their shape; or
a function from the features (B, ...) to it, such as `channel(3)` or `strongest(1)`."""


def backward(
    network: nn.Module,
    images: Tensor,
    layer: str | None = None,
    rule: Rule = "desalinet",
    signal: Signal = None,
    *,
    batch_size: int = 32,
) -> Tensor:
    """Map a layer's features back to the images they come from: phi_dagger(phi(x)) of Eq. 5.

    For `saliency` and the whole layer this is the gradient of ||phi(x)||^2 / 2, of any network that has one.
    The other rules take ReLU, max pooling, what is linear (convolution, sums, concatenation, means, scales,
    changes of shape) and normalisation, as modules or as functions. Of a layer that runs several times the
    first call counts. Evaluation mode is used, and what was set before is put back.

    Args:
        network: Its modules may be nested in any way.
        images: Float, (N, C, H, W), as the network takes them, on its device.
        layer: A name of `analysis.explain.layers.layer_names`; the network's default tap if None.
        rule: What a ReLU, a max pool and a normalisation become; see `analysis.explain.reverses`.
        signal: What starts at the layer; all of its features if None.
        batch_size: Images at once, at least 1; bounds the memory.

    Returns:
        A tensor shaped as `images`.

    Raises:
        RelayError: For an unknown layer or rule, an operation that has no reverse (names the module), images
            that do not fit or are not finite, weights that are not finite, or a signal of another shape.

    Examples:
        What a convolution doubles is doubled once more on the way back:

        >>> network = nn.Sequential(nn.Conv2d(1, 1, kernel_size=1, bias=False), nn.ReLU())
        >>> _ = nn.init.constant_(network[0].weight, 2.0)
        >>> backward(network, torch.ones(1, 1, 2, 2), layer="0")
        tensor([[[[4., 4.],
                  [4., 4.]]]])
    """
    if not is_whole(batch_size) or batch_size < 1:
        raise RelayError(f"batch_size is {batch_size!r}; give a whole number, at least 1")
    if not isinstance(images, Tensor):
        raise RelayError(f"images are a {type(images).__name__}; give a torch.Tensor, (N, C, H, W)")
    if images.dim() != 4 or not images.is_floating_point():
        raise RelayError(
            f"images are {images.dtype} of shape {tuple(images.shape)}; give floating point, (N, C, H, W)"
        )
    _check_rule(rule)
    layer = tap_of(network, layer)
    find_layer(network, layer)
    if not len(images):
        return torch.zeros_like(images)
    with torch.inference_mode(False), evaluating(network), torch.no_grad():
        maps = [
            path_back(network, batch, layer, rule, _part(signal, start, len(images), batch_size))
            for start, batch in zip(
                range(0, len(images), batch_size), torch.split(images, batch_size), strict=True
            )
        ]
    return torch.cat(maps)


def channel(index: int) -> Callable[[Tensor], Tensor]:
    """A signal: one channel of the layer's features, from 0.

    Raises:
        RelayError: When the backward path starts, if the layer has no such channel.
    """

    def select(features: Tensor) -> Tensor:
        if not is_whole(index) or not 0 <= index < features.shape[1]:
            raise RelayError(
                f"channel {index!r} is asked for; the layer has channels 0 to {features.shape[1] - 1}"
            )
        selected = torch.zeros_like(features)
        selected[:, index] = features[:, index]
        return selected

    return select


def strongest(count: int) -> Callable[[Tensor], Tensor]:
    """A signal: the `count` largest of each image's features, all others 0.

    Raises:
        RelayError: When the backward path starts, if the layer has fewer features.
    """

    def select(features: Tensor) -> Tensor:
        flat = features.flatten(1)
        if not is_whole(count) or not 1 <= count <= flat.shape[1]:
            raise RelayError(
                f"the strongest {count!r} are asked for; give 1 to {flat.shape[1]} for this layer"
            )
        largest = flat.topk(count, dim=1)
        return torch.zeros_like(flat).scatter_(1, largest.indices, largest.values).view_as(features)

    return select


def modules_until(network: nn.Module, images: Tensor, layer: str) -> list[str]:
    """Paths of the modules that a backward path from a layer undoes, in the order in which they run.

    Args:
        network: See `backward`.
        images: One or more, (N, C, H, W).
        layer: The last.

    Raises:
        RelayError: As `backward`.
    """
    with evaluating(network), torch.no_grad():
        return ForwardTrace(network, images, layer, "saliency").names


def path_back(
    network: nn.Module,
    images: Tensor,
    layer: str,
    rule: Rule,
    signal: Signal = None,
    *,
    strided_as_dense: bool = False,
) -> Tensor:
    """`backward` of one batch, of a network in evaluation mode and without gradients.

    Args are those of `backward`, and `strided_as_dense` that of `analysis.explain.reverses.reverse_of`.
    """
    _check_rule(rule)
    if not is_finite(images):
        raise RelayError("the images hold NaN or infinite values")
    trace = _traced(network, images, layer, rule, strided_as_dense)
    start = _started(signal, trace.features.detach())
    if not is_finite(start):
        raise RelayError(
            f"what starts at {layer} holds NaN or infinite values; the images, the weights or the signal "
            "are too large"
        )
    try:
        (found,) = torch.autograd.grad(trace.features, trace.images, start)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        del trace  # its graph is not needed beside the other one
        with saved_tensors_hooks(_kept, _as_kept):
            trace = _traced(network, images, layer, rule, strided_as_dense)
        (found,) = torch.autograd.grad(trace.features, trace.images, start)
    if not is_finite(found):
        raise RelayError(
            f"on the way back from {layer} values became NaN or infinite; the images, the weights or the "
            "signal are too large"
        )
    return found


def _traced(
    network: nn.Module, images: Tensor, layer: str, rule: Rule, strided_as_dense: bool
) -> ForwardTrace:
    """A forward pass whose graph goes back by a rule."""
    trace = ForwardTrace(network, images, layer, rule, strided_as_dense=strided_as_dense)
    nodes = trace.nodes()
    among = {*nodes, get_gradient_edge(trace.images).node}
    for node in nodes:
        module = trace.module_of(node)
        refused = apply_rule(node, module, among, rule)
        if refused is not None:
            raise RelayError(
                f"{trace.described(module)}: {refused} has no reverse under {rule}, which says what "
                "becomes of ReLUs, max pools and what is linear; take rule=saliency, the gradient, or an "
                "earlier layer"
            )
    return trace


def _kept(saved: Tensor) -> Tensor:
    """What a reverse needs, safe from what works in place on it later."""
    return saved if isinstance(saved, nn.Parameter) else saved.detach().clone()


def _as_kept(saved: Tensor) -> Tensor:
    return saved


def _check_rule(rule: str) -> None:
    if rule not in get_args(Rule):
        raise unknown_name("rule", rule, get_args(Rule))


def _part(signal: Signal, start: int, images: int, batch_size: int) -> Signal:
    if not isinstance(signal, Tensor):
        return signal
    if not signal.dim() or len(signal) != images:
        raise RelayError(f"the signal has shape {tuple(signal.shape)} for {images} images")
    return signal[start : start + batch_size]


def _started(signal: Signal, features: Tensor) -> Tensor:
    started: Any = signal
    if signal is None:
        started = features
    elif callable(signal) and not isinstance(signal, Tensor):
        started = signal(features.clone())  # it may write into them; the features are a reverse's mask
    if not isinstance(started, Tensor):
        raise RelayError(
            f"the signal is {started!r}; give a tensor of the features' shape, a function from them to one, "
            "or None"
        )
    if started.shape != features.shape:
        raise RelayError(
            f"the signal has shape {tuple(started.shape)}; the layer's features have {tuple(features.shape)}"
        )
    if started.dtype != features.dtype:
        raise RelayError(f"the signal is {started.dtype}; the layer's features are {features.dtype}")
    return started.clone()  # what comes back may be written into, what was given may not
