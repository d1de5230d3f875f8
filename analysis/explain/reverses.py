"""The reverse of each kind of layer, by the rule of the backward path (paper, appendix A.1).

| rule | ReLU | max pool | normalisation |
|---|---|---|---|
| `desalinet` (Mahendran and Vedaldi 2016) | mask, then max(., 0) | switches | identity |
| `saliency` (Simonyan et al. 2013; A.4 as printed) | mask | switches | true gradient |
| `deconvnet` (Zeiler and Fergus 2014) | max(., 0) | switches | identity |

The mask keeps what flows back where the forward input was positive. A max pool's switches hand each value
back to where it was taken from; where windows overlap and share a maximum, the values add up.
`torch.nn.functional.max_unpool2d` keeps one of them and is therefore not the adjoint of AlexNet's pooling
of 3 pixels every 2. A convolution's reverse is its adjoint without the bias: the sum over output channels
of the filters turned by 180 degrees. (The S of the paper's Eq. A.2 transposes a filter instead; only the
adjoint makes `saliency` the gradient that it is in the cited works.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn import grad as functional_adjoint

from analysis.explain.choices import Rule
from lightning_modules.lrn import LocalResponseNorm
from lightning_modules.pooling import AdaptiveAveragePool2d

Reverse = Callable[[Tensor], Tensor]
"""From the signal at a layer's output to that at its input, of the input's shape."""

_RELU = (nn.ReLU,)
_IDENTITY = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
_RESHAPE = (nn.Flatten, nn.Unflatten)
_CONVOLUTION = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_AFFINE = (
    nn.Linear,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    AdaptiveAveragePool2d,
    nn.ZeroPad2d,
    nn.ConstantPad2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
)
_MAX_POOL = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
_NORMALISATION = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    LocalResponseNorm,
)


def reverse_of(
    module: nn.Module, given: Tensor, output: Tensor, rule: Rule, *, strided_as_dense: bool = False
) -> Reverse | None:
    """What a layer does to a signal on its way back, after it ran forward.

    Only what the reverse needs is kept of the forward pass, for a convolution its input's shape. In
    evaluation mode only. A reverse may write into the signal that it is given.

    Args:
        module: The layer.
        given: Its input, before any change in place; a leaf that requires gradients if `is_by_graph`.
        output: Its output, with its graph if `is_by_graph`.
        rule: See the table above.
        strided_as_dense: Reverse convolutions with a stride by dense ones, see `_strided_convolution`: three
            times as fast for AlexNet's first, and equal up to rounding instead of bit for bit.

    Returns:
        None for a kind of layer that has no reverse.
    """
    step = _Step(module, given, output, rule, strided_as_dense)
    return next((make(step) for kinds, make in _REVERSES if _is_a(module, kinds)), None)


def needed_by_reverse(module: nn.Module, given: Tensor, output: Tensor, rule: Rule) -> Tensor | None:
    """What a layer's reverse needs as the forward pass left it, so that nothing may work in place on it."""
    if is_by_graph(module, rule):
        return given
    return output if _is_a(module, _RELU) and rule != "deconvnet" else None


def is_by_graph(module: nn.Module, rule: Rule) -> bool:
    """Whether a layer is reversed by autograd: its input is then to be a leaf that requires gradients."""
    if _is_a(module, _MAX_POOL):
        return not module.return_indices
    return rule == "saliency" and _is_a(module, _NORMALISATION)


def _is_a(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module is of a kind and computes what that kind does, not something of its own."""
    if "forward" in vars(module):  # set on this very module
        return False
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)


@dataclass(frozen=True)
class _Step:
    """A layer that ran; see `reverse_of`."""

    module: nn.Module
    given: Tensor
    output: Tensor
    rule: Rule
    strided_as_dense: bool


def _unchanged(_step: _Step) -> Reverse:
    return lambda signal: signal


def _reshaped(step: _Step) -> Reverse:
    shape = step.given.shape
    return lambda signal: signal.reshape(shape)


def _relu(step: _Step) -> Reverse:
    output, rule = step.output, step.rule
    if rule == "deconvnet":
        return lambda signal: signal.clamp_min_(0)

    def reverse(signal: Tensor) -> Tensor:
        passed: Tensor
        # The output is positive where the input was, whether or not the layer worked in place.
        passed = torch.ops.aten.threshold_backward(signal, output, 0)
        return passed if rule == "saliency" else passed.clamp_min_(0)

    return reverse


def _normalisation(step: _Step) -> Reverse | None:
    return _by_graph(step) if step.rule == "saliency" else _unchanged(step)


def _convolution(step: _Step) -> Reverse:
    module, shape = cast(nn.Conv2d, step.module), step.given.shape
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return _affine(step)
    if step.strided_as_dense and _takes_the_dense_way(module):
        return _strided_convolution(module, shape)
    adjoint: Callable[..., Tensor] = {
        3: functional_adjoint.conv1d_input,
        4: functional_adjoint.conv2d_input,
        5: functional_adjoint.conv3d_input,
    }[len(shape)]
    settings = (module.stride, module.padding, module.dilation, module.groups)
    return lambda signal: adjoint(shape, module.weight, signal, *settings)


def _takes_the_dense_way(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.stride[0] == module.stride[1] > 1
        and module.groups == 1
        and module.dilation == (1, 1)
    )


def _strided_convolution(module: nn.Conv2d, shape: torch.Size) -> Reverse:
    """The adjoint of a convolution of stride s as a dense one to s^2 times the channels and a pixel shuffle.

    Pixel i of the padded image is s q + r, tap k of the filter s t + r, and i = s o + k at output o: so
    o = q - t, a dense convolution over q for each r. Libraries are slow at a transposed convolution to
    three channels.
    """
    step, weight = module.stride[0], module.weight
    (top, left), (high, wide) = cast(tuple[int, int], module.padding), module.kernel_size
    down, across = -(-high // step), -(-wide // step)
    taps = functional.pad(weight, (0, across * step - wide, 0, down * step - high))
    taps = taps.view(*weight.shape[:2], down, step, across, step).permute(1, 3, 5, 0, 2, 4)
    dense = taps.reshape(-1, len(weight), down, across).flip(2, 3)

    def reverse(signal: Tensor) -> Tensor:
        padded = functional.pixel_shuffle(
            functional.conv2d(signal, dense, padding=(down - 1, across - 1)), step
        )
        # Pixels behind the last window got nothing from the forward pass and get nothing back.
        missing = (top + shape[2] - padded.shape[2], left + shape[3] - padded.shape[3])
        padded = functional.pad(padded, (0, max(0, missing[1]), 0, max(0, missing[0])))
        return padded[:, :, top : top + shape[2], left : left + shape[3]]

    return reverse


def _affine(step: _Step) -> Reverse:
    """The adjoint of the layer's linear part: its derivative anywhere."""
    module, shape = step.module, step.given.shape

    def reverse(signal: Tensor) -> Tensor:
        with torch.enable_grad():
            at = signal.new_zeros(shape).requires_grad_()
            (gradient,) = torch.autograd.grad(module(at), at, signal)
        return gradient

    return reverse


def _by_graph(step: _Step) -> Reverse | None:
    """The transposed derivative of a layer at its input: of a max pool, its switches."""
    if not is_by_graph(step.module, step.rule):
        return None  # a max pool that hands on its indices
    given, output = step.given, step.output
    return lambda signal: torch.autograd.grad(output, given, signal)[0]


_REVERSES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[_Step], Reverse | None]], ...] = (
    (_RELU, _relu),
    (_IDENTITY, _unchanged),
    (_NORMALISATION, _normalisation),
    (_RESHAPE, _reshaped),
    (_CONVOLUTION, _convolution),
    (_AFFINE, _affine),
    (_MAX_POOL, _by_graph),
)
"""From kinds of layers to their reverses."""
