"""What the rules of a backward path make of each kind of step (paper, appendix A.1).

| rule | ReLU | max pool | local response normalisation |
|---|---|---|---|
| `desalinet` (Mahendran and Vedaldi 2016) | mask, then max(., 0) | switches | identity |
| `saliency` (Simonyan et al. 2013; A.4 as printed) | mask | switches | true gradient |
| `deconvnet` (Zeiler and Fergus 2014) | max(., 0) | switches | identity |

Everything else is undone by its transposed derivative, as autograd has it: a convolution by its adjoint
without the bias; a sum hands the signal to each summand, and where a value was used twice the signals add
up; a concatenation is split; the other normalisations by their gradient, which for batch normalisation with
stored statistics is a scale of each channel. So `desalinet` is guided backpropagation and `deconvnet` the
deconvolution network as they are computed on networks of today. `saliency` takes whatever has a derivative.
The other two say nothing of GELU, gates and attention, and refuse them.

The mask keeps what flows back where the forward input was positive, of a ReLU that is cut off, as ReLU6,
also below the cut. A max pool's switches hand each value back to where it was taken from; where windows
overlap and share a maximum, the values add up. `torch.nn.functional.max_unpool2d` keeps one of them and is
therefore not the adjoint of AlexNet's pooling of 3 pixels every 2. (The S of the paper's Eq. A.2 transposes
a filter instead of turning it by 180 degrees; only the adjoint makes `saliency` the gradient that it is in
the cited works.)
"""

import re
from collections.abc import Callable, Collection
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn import functional

from analysis.explain.choices import Rule
from lightning_modules.lrn import LocalResponseNorm

_Reverse = Callable[[Tensor], Tensor]
"""From the signal at a module's output to that at its input, of the input's shape."""

_LOCAL_RESPONSE = (nn.LocalResponseNorm, LocalResponseNorm)

_CIRCULAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d)
"""Their padding may write parts of a tensor."""

# Names of autograd's nodes, without "Backward" and what follows it.
_JOINS = frozenset({"Add", "Sub", "Rsub", "Cat", "Stack"})
"""Linear in all that they are given together."""

_SCALES = frozenset({"Mul", "Div", "Mm", "Bmm", "Addmm", "Baddbmm", "Mv", "Addmv", "Linear"})
"""Linear in one factor, where the other does not depend on the images."""

# Linear in what they are given, or moving values only: convolutions, means, changes of shape, padding; max
# pools, by their switches; normalisations, by their gradient.
_ALONE = re.compile(
    r"""(Cudnn|Mkldnn|Miopen|Mps|Native|Fused)?
    ( Convolution\w* | Mean | Sum | Neg | (Adaptive)?AvgPool[123]D | Upsample(Nearest|\w*Linear|Bicubic)\w*
    | Alias | AsStrided | Clone | Col2Im | Copy | Diagonal | Expand | Flip | Gather | Im2Col | Index(Select)?
    | Permute | Pixel(Uns|S)huffle | Repeat | Reshape(Alias)? | Roll | Select | Slice
    | (Unsafe)?Split(WithSizes)? | Squeeze | T | ToCopy | Transpose | Unbind | Unfold | (Unsafe)?View
    | Unsqueeze | ConstantPadNd | (Reflection|Replication)Pad[123]D
    | (Adaptive)?MaxPool[23]D(WithIndices)? | Max | (Batch|Layer|Group|Rms)Norm | _Replaced )""",
    re.VERBOSE,
)


def apply_rule(node: Node, module: nn.Module, given: Collection[Node], rule: Rule) -> str | None:
    """Make a node of autograd's graph do on the way back what a rule says.

    Args:
        node: One that leads from the features to the images.
        module: In whose forward pass it was made.
        given: Those nodes, and that of the images: inputs that are not among them are constants.
        rule: See the table above.

    Returns:
        None if done, or what the node does that has no reverse under the rule.
    """
    if rule == "saliency":
        return None
    kind = node.name().rpartition("::")[2].partition("Backward")[0]
    if _is_rectifier(node, kind):
        node.register_hook(_guided if rule == "desalinet" else _rectified)
        return None
    dependent = [place for place, (source, _) in enumerate(node.next_functions) if source in given]
    if kind == "CopySlices":  # it does not say what was written into a part of a tensor; padding does, values
        return None if _is_a(module, _CIRCULAR) else "a change in place of a view"
    if kind not in _JOINS and kind not in _SCALES and not _ALONE.fullmatch(kind):
        return _in_words(kind)
    if len(dependent) > 1 and kind not in _JOINS:
        return f"{_in_words(kind)} of values that all depend on the images"
    return "division by what depends on the images" if kind == "Div" and dependent != [0] else None


def replaced(
    module: nn.Module, inputs: tuple[Any, ...], output: Any, rule: Rule, *, strided_as_dense: bool = False
) -> Tensor | None:
    """The output of a module whose reverse is not autograd's, on a graph with that reverse.

    Args:
        module: It ran.
        inputs: What it was given.
        output: What it gave.
        rule: See the table above.
        strided_as_dense: Reverse convolutions with a stride by dense ones, see `_strided_convolution`: three
            times as fast for AlexNet's first, and equal up to rounding instead of bit for bit.

    Returns:
        None for any other module.
    """
    reverse: _Reverse
    if rule != "saliency" and _is_a(module, _LOCAL_RESPONSE):
        reverse = _unchanged
    elif strided_as_dense and _takes_the_dense_way(module):
        reverse = _strided_convolution(cast(nn.Conv2d, module), inputs[0].shape)
    else:
        return None
    made: Tensor = _Replaced.apply(inputs[0], [output.detach()], reverse)
    return made


class _Replaced(torch.autograd.Function):
    """What a module gave, with a reverse of ours. It stands in a list: it is no input of this function."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, output: list[Tensor], reverse: _Reverse) -> Tensor:
        ctx.reverse = reverse
        return output.pop()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        return ctx.reverse(signals[0]), None, None


def _in_words(kind: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind).lower()


def _is_a(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module is of a kind and computes what that kind does, not something of its own."""
    if "forward" in vars(module):  # set on this very module
        return False
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)


def _is_rectifier(node: Any, kind: str) -> bool:
    """Whether a node is max(., 0), or that cut off above, as ReLU6 and clamp(0, 6) are."""
    if kind == "Relu":
        return True
    least = {"Hardtanh": "_saved_min_val", "ClampMin": "_saved_min", "Clamp": "_saved_min"}.get(kind)
    return least is not None and getattr(node, least, None) == 0


def _guided(back: tuple[Tensor, ...], _signals: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (back[0].clamp_min(0),)  # after the mask


def _rectified(_back: tuple[Tensor, ...], signals: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (signals[0].clamp_min(0),)


def _unchanged(signal: Tensor) -> Tensor:
    return signal


def _takes_the_dense_way(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and _is_a(module, (nn.Conv2d,))
        and module.stride[0] == module.stride[1] > 1
        and module.groups == 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _strided_convolution(module: nn.Conv2d, shape: torch.Size) -> _Reverse:
    """The adjoint of a convolution of stride s as a dense one to s^2 times the channels and a pixel shuffle.

    Pixel i of the padded image is s q + r, tap k of the filter s t + r, and i = s o + k at output o: so
    o = q - t, a dense convolution over q for each r. Libraries are slow at a transposed convolution to
    three channels.
    """
    step, weight = module.stride[0], module.weight.detach()
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
