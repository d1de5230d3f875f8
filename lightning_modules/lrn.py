"""Local response normalisation that is not the bottleneck of a network.

`torch.nn.LocalResponseNorm` pads and pools a five-dimensional copy of its input; on a processor that
takes most of AlexNet's training step. The layer here computes the same function three ways cheaper:

- the window sum over n channels takes about log2(n) additions of shifted copies, not a pooling kernel;
- values and gradients are written out by hand, so that only the input is kept for the backward pass;
- on a processor, both run over blocks that stay in the cache, in at least float32 whatever the input is.

Under `torch.compile`, on an accelerator and for second derivatives the same formulas run once over the
whole tensor, where a compiler can fuse them into one kernel.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_THREAD_ELEMENTS = 1 << 16  # 256 KiB of float32 a thread: the few buffers of a block stay in the cache


class LocalResponseNorm(nn.Module):
    r"""Normalise every activation by the energy of its neighbouring channels.

    .. math:: y_c = x_c \left(k + \frac{\alpha}{n} \sum_{c' \in W(c)} x_{c'}^2\right)^{-\beta}

    with the window :math:`W(c)` of n = `size` channels from c - size // 2 to c + (size - 1) // 2, cut at
    the first and the last channel. Arguments, defaults and values are those of
    `torch.nn.LocalResponseNorm`. Krizhevsky et al. 2012, section 3.3, do not divide alpha by n.

    Shapes: Input (N, C, *) with at least three dimensions; the output has the input's shape, dtype and
    memory format. bfloat16 and float16 are computed in float32 and rounded once, at the end, also under
    autocast (`torch.nn.LocalResponseNorm` returns float32 there).

    Args:
        size: Number of neighbouring channels in a window, at least 1; may exceed the number of channels.
        alpha: Multiplicative factor, divided by `size`.
        beta: exponent.
        k: Additive constant.

    Raises:
        ValueError: `size` is below 1, or the input has fewer than three dimensions.
        TypeError: The input is not a floating-point tensor.

    Examples:
        With a window of one channel and these constants, an activation is divided by its square:

        >>> LocalResponseNorm(1, alpha=1.0, beta=1.0, k=0.0)(torch.full((1, 1, 2), 2.0))
        tensor([[[0.5000, 0.5000]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"LocalResponseNorm: size is {size}; a window has at least 1 channel.")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input` of shape (N, C, *); the output has the same shape."""
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Arguments as `torch.nn.LocalResponseNorm` prints them."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """The function of `LocalResponseNorm`: see there for formula, shapes and errors."""
    if input.dim() < 3:
        raise ValueError(
            f"LocalResponseNorm: the input has shape {tuple(input.shape)}; "
            "it needs at least 3 dimensions, (batch, channels, ...)."
        )
    if not input.is_floating_point():
        raise TypeError(f"LocalResponseNorm: the input is {input.dtype}; convert it to floating point.")
    if input.numel() == 0:
        return input
    channels = input.shape[1]
    before = min(size // 2, channels - 1)
    after = min((size - 1) // 2, channels - 1)
    output: Tensor = _LocalResponseNorm.apply(input, before, after, alpha / size, beta, k)
    return output


class _Constants(NamedTuple):
    """The window's reach in channels, and scale = alpha / size, beta and k of the formula."""

    before: int
    after: int
    scale: float
    beta: float
    k: float


class _LocalResponseNorm(torch.autograd.Function):
    """y = x s^-beta with s = k + scale * (sum of x^2 over `before` + 1 + `after` channels).

    Its gradient is g s^-beta - 2 scale beta x T(g x s^(-beta-1)), T being the transposed window sum, whose
    window reaches `after` channels back and `before` channels on.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *constants: Any) -> Tensor:
        ctx.save_for_backward(x)
        ctx.constants = constants
        forward = _blocked_forward if _in_blocks(x) else _whole_forward
        return forward(x, _Constants(*constants))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        # Grad mode is on here only for a second derivative: then every operation has to be recorded.
        blocked = _in_blocks(x) and not torch.is_grad_enabled()
        backward = _blocked_backward if blocked else _whole_backward
        return backward(x, gradient, _Constants(*ctx.constants)), None, None, None, None, None


def _in_blocks(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _negative_power(base: Tensor, beta: float) -> Tensor:
    """base^-beta; AlexNet's beta of 3/4 by square roots, several times faster than a general power."""
    if beta == 0.75:
        root = base.rsqrt()
        return root * root.sqrt()
    return base.pow(-beta)


# The whole tensor at once: differentiable, for compilers and accelerators.


def _window_sum(values: Tensor, before: int, after: int) -> Tensor:
    """Sum of each channel (dimension 1) and of the `before` and `after` channels beside it."""
    padding = [0, 0] * (values.dim() - 2) + [before, after]
    power = functional.pad(values, padding)
    channels, total, offset, width, left = values.shape[1], None, 0, 1, before + 1 + after
    while True:  # `power` holds sums of `width` channels, a power of two; `left` is what is still to be added
        if left & 1:
            part = power.narrow(1, offset, channels)
            total = part if total is None else total + part
            offset += width
        left >>= 1
        if not left:
            assert total is not None
            return total
        length = power.shape[1] - width
        power = power.narrow(1, 0, length) + power.narrow(1, width, length)
        width *= 2


def _whole_forward(x: Tensor, constants: _Constants) -> Tensor:
    before, after, scale, beta, k = constants
    wide = x.to(_compute_dtype(x))
    base = k + scale * _window_sum(wide * wide, before, after)
    return (wide * _negative_power(base, beta)).to(x.dtype)


def _whole_backward(x: Tensor, gradient: Tensor, constants: _Constants) -> Tensor:
    before, after, scale, beta, k = constants
    wide, wide_gradient = x.to(_compute_dtype(x)), gradient.to(_compute_dtype(x))
    base = k + scale * _window_sum(wide * wide, before, after)
    direct = wide_gradient * _negative_power(base, beta)
    across = _window_sum(direct * wide / base, after, before)
    return (direct - (2 * scale * beta) * wide * across).to(x.dtype)


# In blocks: for a processor, where memory traffic decides.


def _rows(x: Tensor) -> Tensor:
    """A view (rows, channels, inner) of a dense tensor, contiguous; a copy where there is none.

    A row is an image in NCHW and a pixel, with inner = 1, in NHWC: in both, neighbouring channels lie
    `inner` elements apart, so that one code serves both.
    """
    last = x.movedim(1, -1)
    if x.is_contiguous() or not last.is_contiguous():
        return x.reshape(x.shape[0], x.shape[1], -1).contiguous()
    return last.reshape(-1, x.shape[1], 1)


def _dense(x: Tensor) -> Tensor:
    """`x` itself if it is NCHW or NHWC without gaps, else a copy that keeps the order of its strides."""
    if x.is_contiguous() or x.movedim(1, -1).is_contiguous():
        return x
    x = x.clone()
    return x if x.movedim(1, -1).is_contiguous() else x.contiguous()


class _Blocks:
    """Buffers and sums for blocks of the rows of a tensor.

    A block is laid into rows padded with zero channels on both sides. Seen as one dimension, a window sum is
    then a sum of shifted copies of the whole block, without regard to where a row ends: what falls between
    two rows is computed and never read.
    """

    def __init__(self, rows: Tensor, before: int, after: int, dtype: torch.dtype) -> None:
        self.count, self.channels, self.inner = rows.shape
        self.before, self.after, self.dtype = before, after, dtype
        self.padded = self.channels + before + after
        elements = _THREAD_ELEMENTS * torch.get_num_threads()
        self.length = min(self.count, max(1, elements // (self.padded * self.inner)))

    def zeros(self) -> Tensor:
        return torch.zeros(self.length, self.padded, self.inner, dtype=self.dtype, device="cpu")

    def starts(self) -> range:
        return range(0, self.count, self.length)

    def window_sum(self, padded: Tensor) -> Tensor:
        """Sums over windows of the channels of `padded` (length, padded, inner), in one dimension."""
        power = padded.view(-1)
        total, offset, width, left = None, 0, self.inner, self.before + 1 + self.after
        while True:  # as in `_window_sum`; every sum is shorter than the block by what it is shifted
            if left & 1:
                part = power[offset:]
                total = part if total is None else total[: part.numel()] + part[: total.numel()]
                offset += width
            left >>= 1
            if not left:
                assert total is not None
                return total
            power = power[:-width] + power[width:]
            width *= 2

    def unpadded(self, sums: Tensor, rows: int) -> Tensor:
        """The (rows, channels, inner) sums that belong to a channel, as a view."""
        shape, strides = (rows, self.channels, self.inner), (self.padded * self.inner, self.inner, 1)
        return sums.as_strided(shape, strides, sums.storage_offset())


def _blocked_forward(x: Tensor, constants: _Constants) -> Tensor:
    before, after, scale, beta, k = constants
    x = _dense(x)
    output = torch.empty_like(x)
    rows, output_rows = _rows(x), _rows(output)
    blocks = _Blocks(rows, before, after, _compute_dtype(x))
    squares = blocks.zeros()
    constant = torch.tensor(k, dtype=blocks.dtype, device="cpu")
    for start in blocks.starts():
        block = rows[start : start + blocks.length].to(blocks.dtype)
        count = len(block)
        torch.mul(block, block, out=squares[:count, before : before + blocks.channels])
        base = torch.add(constant, blocks.window_sum(squares[:count]), alpha=scale)
        factor = blocks.unpadded(_negative_power(base, beta), count)
        output_rows[start : start + count] = block * factor
    return output


def _blocked_backward(x: Tensor, gradient: Tensor, constants: _Constants) -> Tensor:
    before, after, scale, beta, k = constants
    x = _dense(x)
    output = torch.empty_like(x)
    if gradient.stride() != x.stride():
        gradient = torch.empty_like(x).copy_(gradient)
    rows, gradient_rows, output_rows = _rows(x), _rows(gradient), _rows(output)
    blocks = _Blocks(rows, before, after, _compute_dtype(x))
    squares, products = blocks.zeros(), blocks.zeros()
    constant = torch.tensor(k, dtype=blocks.dtype, device="cpu")
    for start in blocks.starts():
        block = rows[start : start + blocks.length].to(blocks.dtype)
        count = len(block)
        torch.mul(block, block, out=squares[:count, before : before + blocks.channels])
        base = torch.add(constant, blocks.window_sum(squares[:count]), alpha=scale)
        factor = blocks.unpadded(_negative_power(base, beta), count)
        direct = gradient_rows[start : start + count] * factor
        product = products[:count, after : after + blocks.channels]
        torch.mul(direct, block, out=product)
        product.div_(blocks.unpadded(base, count))
        across = blocks.unpadded(blocks.window_sum(products[:count]), count)
        output_rows[start : start + count] = direct.addcmul_(block, across, value=-2 * scale * beta)
    return output
