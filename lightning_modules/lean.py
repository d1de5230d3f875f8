"""A trained network for prediction alone: the same function with fewer operations."""

import copy

import torch
from torch import Tensor, nn

from lightning_modules.lrn import LocalResponseNorm
from lightning_modules.pooling import AdaptiveAveragePool2d, bins

_FEW = 64  # channels, up to which their product with a window is faster than additions of shifted copies
_BLOCK_ELEMENTS = 1 << 16  # a thread; the few buffers of a block stay in the cache


class GreyConv2d(nn.Conv2d):
    """A convolution that takes channels that are one in memory as one, with the sum of their weights.

    Grey images are seen by a network as three equal channels; `Preprocess(shared=True)` makes them a view of
    one. That they are equal is seen by their stride of 0: other images are computed as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Conv2d`."""
        if input.stride(1) != 0 or self.groups != 1:
            return super().forward(input)
        weights = torch.empty_like(self.weight[:, :1])  # its strides decide about the layout of the result
        torch.sum(self.weight, 1, keepdim=True, out=weights)
        output: Tensor = self._conv_forward(input[:, :1], weights, self.bias)
        return output


class NarrowLocalResponseNorm(LocalResponseNorm):
    """Without a gradient; of few channels that stand last in memory, windows are one matrix product."""

    def forward(self, input: Tensor) -> Tensor:
        """As `LocalResponseNorm`."""
        last = input.movedim(1, -1)
        channels = last.shape[-1]
        if input.device.type != "cpu" or channels > _FEW or not last.is_contiguous():
            return super().forward(input)
        rows = last.reshape(-1, channels)
        output = torch.empty_like(rows)
        number = torch.arange(channels)
        apart = number[:, None] - number
        window = (-(self.size // 2) <= apart) & (apart <= (self.size - 1) // 2)
        weights, k = window.to(rows), torch.tensor(self.k).to(rows)
        length = max(1, _BLOCK_ELEMENTS * torch.get_num_threads() // channels)
        for block, result in zip(torch.split(rows, length), torch.split(output, length), strict=True):
            base = torch.addmm(k, block * block, weights, alpha=self.alpha / self.size)
            torch.mul(block, base.pow_(-self.beta) if self.beta != 0.75 else _power(base), out=result)
        return output.view(last.shape).movedim(-1, 1)


def _power(base: Tensor) -> Tensor:
    """base^-0.75, several times faster than a general power."""
    root = base.rsqrt_()
    return root.mul_(root.sqrt())


def lean_network(network: nn.Module, size: int) -> nn.Module:
    """A copy of a trained network that does less and says the same, up to the rounding of float32.

    - Convolutions of three channels are `GreyConv2d`: a third of the work for grey images.
    - Where small images reach the classifier through an average pool that repeats their few pixels
      (`AdaptiveAveragePool2d`), the pool is multiplied into the linear layer after it: at 64 px AlexNet's fc6
      has 36 times fewer weights.
    - Convolutions have their channels last, with which pooling is several times faster on processors.

    Args:
        network: In evaluation mode; it stays as it is, and the copy shares its other weights.
        size: Side of all images that it will see, px.
    """
    # Layouts are changed below in place, which must not reach the network's own convolutions.
    shared = {id(weights): weights for weights in network.parameters() if weights.dim() != 4}
    lean = copy.deepcopy(network, shared)
    for module in lean.modules():
        if type(module) is nn.Conv2d and module.in_channels == 3:
            module.__class__ = GreyConv2d
        if type(module) is LocalResponseNorm:
            module.__class__ = NarrowLocalResponseNorm
    lean = lean.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return _without_pool(lean, size) or lean


def _without_pool(network: nn.Module, size: int) -> nn.Module | None:
    """The network with its average pool multiplied into a linear layer; None where that is not possible."""
    modules = dict(network.named_modules())
    paths = [path for path, module in modules.items() if isinstance(module, AdaptiveAveragePool2d)]
    after = list(modules)[list(modules).index(paths[0]) + 1 :] if len(paths) == 1 else []
    linear = next((path for path in after if isinstance(modules[path], nn.Linear)), None)
    parameter = next(network.parameters(), None)
    if linear is None or parameter is None:
        return None
    images = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(0)).to(parameter.device)
    seen: list[torch.Size] = []
    hook = modules[paths[0]].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    expected = network(images)
    hook.remove()
    smaller = _pooled(modules[linear], seen[0], modules[paths[0]]) if len(seen) == 1 else None
    if smaller is None:
        return None
    changed = copy.deepcopy(network, {id(weights): weights for weights in network.parameters()})
    changed.set_submodule(paths[0], nn.Identity())
    changed.set_submodule(linear, smaller)
    try:  # what lies between the two in another network may be anything: it is taken if it says the same
        return changed if torch.allclose(changed(images), expected, rtol=1e-4, atol=1e-5) else None
    except RuntimeError:  # shapes that do not fit
        return None


def _pooled(linear: nn.Module, shape: torch.Size, pool: nn.Module) -> nn.Linear | None:
    """A linear layer of the pixels (N, C, H, W) that `pool` takes; None if it would not be smaller."""
    assert isinstance(linear, nn.Linear) and isinstance(pool, AdaptiveAveragePool2d)
    _, channels, height, width = shape
    side = pool.output_size
    if height * width >= side * side or linear.in_features != channels * side * side:
        return None
    rows, columns = (bins(length, side).to(linear.weight) for length in (height, width))
    weights = torch.einsum("ocij,ih,jw->ochw", linear.weight.view(-1, channels, side, side), rows, columns)
    smaller = nn.Linear(channels * height * width, linear.out_features, device="meta")
    smaller.weight, smaller.bias = nn.Parameter(weights.flatten(1), requires_grad=False), linear.bias
    return smaller
