"""Backward paths: which components of an image a layer's features come from (paper, 4.2 and appendix A.1).

The forward pass is watched by hooks, which are always taken off again, and then undone module by module,
last one first, by the rules of `analysis.explain.reverses`. No graph is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from analysis.explain.choices import Rule
from analysis.explain.layers import Reached, evaluating, find_layer, hooked, run, tap_of
from analysis.explain.reverses import Reverse, is_by_graph, needed_by_reverse, reverse_of
from stages.checks import is_whole
from stages.errors import RelayError

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

    For `saliency` and the whole layer this is the gradient of ||phi(x)||^2 / 2. The network must be a chain
    of modules up to that layer: convolution, ReLU, max and average pooling, linear, dropout, normalisation,
    flattening. A module may run several times; the layer's first call counts. Evaluation mode is used, and
    what was set before is put back.

    Args:
        network: its modules may be nested in any way.
        images: float, (N, C, H, W), as the network takes them, on its device.
        layer: a name of `analysis.explain.layers.layer_names`; the network's default tap if None.
        rule: what a ReLU, a max pool and a normalisation become; see `analysis.explain.reverses`.
        signal: what starts at the layer; the whole of its features if None.
        batch_size: images at once, at least 1; bounds the memory.

    Returns:
        A tensor shaped as `images`.

    Raises:
        RelayError: for an unknown layer or rule, an operation that has no reverse (names the module), images
            that do not fit or are not finite, weights that are not finite, or a signal of another shape.
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
        RelayError: when the backward path starts, if the layer has no such channel.
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
        RelayError: when the backward path starts, if the layer has fewer features.
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
        network: see `backward`.
        images: one or more, (N, C, H, W).
        layer: the last.

    Raises:
        RelayError: as `backward`.
    """
    with evaluating(network), torch.no_grad():
        return _forward(network, images.clone(), layer, "saliency", strided_as_dense=False).names


@dataclass
class _Trace:
    """What ran, in order: the modules' names and reverses, and the value that flowed out of the last one.

    `needed` are the tensors that the reverses need as they are now, each with its module and its version.
    """

    names: list[str]
    reverses: list[Reverse]
    value: Tensor
    version: int
    needed: list[tuple[str, Tensor, int]]


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
    if not _is_finite(images):
        raise RelayError("the images hold NaN or infinite values")
    trace = _forward(
        network, images.clone(), layer, rule, strided_as_dense
    )  # a first layer may work in place
    current = _started(signal, trace.value)
    if not _is_finite(current):
        raise RelayError(
            f"what starts at {layer} holds NaN or infinite values; the images, the weights or the signal "
            "are too large"
        )
    for reverse in reversed(trace.reverses):
        current = reverse(current)
    if not _is_finite(current):
        raise RelayError(
            f"on the way back from {layer} values became NaN or infinite; the images, the weights or the "
            "signal are too large"
        )
    return current.reshape(images.shape)


def _check_rule(rule: str) -> None:
    if rule not in get_args(Rule):
        raise RelayError(f"rule is {rule!r}; choose one of {', '.join(get_args(Rule))}")


def _forward(network: nn.Module, images: Tensor, layer: str, rule: Rule, strided_as_dense: bool) -> _Trace:
    """Run the network up to a layer and note how each module is undone.

    Raises:
        RelayError: if something has no reverse, or the layer does not run.
    """
    target = find_layer(network, layer)
    names = {module: name or type(network).__name__ for name, module in network.named_modules()}
    trace = _Trace([], [], images, images._version, [])
    reached: list[bool] = []
    entered: dict[nn.Module, int] = {}

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        given = _only(inputs, names[module], "takes")
        _check_weights(module, names[module])
        trace.reverses.append(_link(trace, given, names[module]))
        _check_needed(trace, f"what is no module, before {names[module]},")
        if not is_by_graph(module, rule):
            return None
        # This module alone keeps its graph: its switches, or what its derivative needs.
        torch.set_grad_enabled(True)
        return (given.detach().requires_grad_(),)

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor:
        torch.set_grad_enabled(False)
        given, value = inputs[0], _only((output,), names[module], "gives")
        reverse = reverse_of(module, given, value, rule, strided_as_dense=strided_as_dense)
        if reverse is None:
            raise _no_reverse(module, names[module])
        if is_by_graph(module, rule):
            value = value.detach()  # the graph ends here
        _check_needed(trace, names[module])
        needed = needed_by_reverse(module, given, value, rule)
        if needed is not None:
            trace.needed.append((names[module], needed, needed._version))
        trace.names.append(names[module])
        trace.reverses.append(reverse)
        trace.value, trace.version = value, value._version
        return value

    def enter(module: nn.Module, _inputs: Any) -> None:
        entered[module] = len(trace.names)

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        # One that ran none of its modules computes by itself, as attention does.
        if entered[module] == len(trace.names) and output is not inputs[0]:
            raise _no_reverse(module, names[module])

    def at_target(_module: nn.Module, _inputs: Any, output: Any) -> None:
        trace.reverses.append(_link(trace, _only((output,), layer, "gives"), f"the end of {layer}"))
        _check_needed(trace, f"what is no module, before the end of {layer},")
        trace.value = output
        reached.append(True)
        raise Reached

    # Modules that compute a weight, such as of spectral_norm, run inside of the layer whose weight it is.
    weights = {
        part for module in names if is_parametrized(module) for part in module.parametrizations.modules()
    }
    with hooked() as handles:
        for module in names:
            if module in weights:
                continue
            if weights.issuperset(module.children()):
                handles.append(module.register_forward_pre_hook(before))
                # Before hooks of others: what they change is no longer what the module gave.
                handles.append(module.register_forward_hook(after, prepend=True))
            else:
                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave))
        handles.append(target.register_forward_hook(at_target))
        run(network, images)
    if not reached:
        raise RelayError(f"{layer} did not run in {type(network).__name__}'s forward pass")
    return trace


def _check_needed(trace: _Trace, last: str) -> None:
    """Refuse what worked in place on what the reverse of an earlier module needs."""
    for name, tensor, version in trace.needed:
        if tensor._version != version:
            raise RelayError(
                f"{last} changes in place what {name} needs for its reverse; give it inplace=False"
            )


def _link(trace: _Trace, given: Tensor, name: str) -> Reverse:
    """How what came out of one module became the input of the next: as it is, or in another shape.

    Raises:
        RelayError: if anything else happened in between.
    """
    last, shape = trace.value, trace.value.shape  # the reverse is to keep no activation alive
    if given._version == trace.version and (given is last or _is_view(last, given)):
        return lambda signal: signal.reshape(shape)
    if last._version == trace.version and _is_reshaped(last, given):
        return lambda signal: signal.reshape(shape)
    source = trace.names[-1] if trace.names else "the images"
    raise RelayError(
        f"between {source} and {name} something happens that is no module, such as a function "
        "(torch.nn.functional.relu), a sum, a branch or a hook, and so has no reverse; make it a module, or "
        "choose an earlier layer"
    )


def _is_view(last: Tensor, given: Tensor) -> bool:
    """Whether both are the same numbers in the same order in the same memory."""
    same = given.data_ptr() == last.data_ptr() and given.numel() == last.numel()
    return same and given.is_contiguous() and last.is_contiguous()


def _is_reshaped(last: Tensor, given: Tensor) -> bool:
    """Whether one is the other flattened, which takes memory of its own for other strides only."""
    if last.is_contiguous() or given.dim() == last.dim() or given.numel() != last.numel():
        return False
    return torch.equal(last.reshape(given.shape), given)


def _only(values: tuple[Any, ...], name: str, verb: str) -> Tensor:
    if len(values) != 1 or not isinstance(values[0], Tensor):
        raise RelayError(f"{name} {verb} something else than one tensor, and so has no reverse")
    return values[0]


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


def _is_finite(values: Tensor) -> bool:
    # A sum is one pass and finite only if all are; it can also overflow, so only then is each looked at.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def _check_weights(module: nn.Module, path: str) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not _is_finite(value):
            raise RelayError(
                f"{path}.{name} holds NaN or infinite weights, so that there is nothing to map back"
            )


def _no_reverse(module: nn.Module, path: str) -> RelayError:
    return RelayError(
        f"{path}, {type(module).__name__}, has no reverse; a backward path takes convolution, ReLU, "
        "pooling, linear, dropout, normalisation and flattening modules"
    )
