"""A trained network for prediction alone: the same function with fewer operations."""

import copy

import torch
from torch import Tensor, nn

from lightning_modules.pooling import AdaptiveAveragePool2d, bins


class GreyConv2d(nn.Conv2d):
    """A convolution that takes channels that are one in memory as one, with the sum of their weights.

    Grey images are seen by a network as three equal channels; `Preprocess(shared=True)` makes them a view of
    one. That the channels are equal is seen by their stride of 0: other images are computed as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Conv2d`."""
        if input.stride(1) != 0 or self.groups != 1:
            return super().forward(input)
        weights = torch.empty_like(self.weight[:, :1])  # its strides decide about the layout of the result
        torch.sum(self.weight, 1, keepdim=True, out=weights)
        return self._conv_forward(input[:, :1], weights, self.bias)


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
    lean = copy.deepcopy(network, shared).requires_grad_(False)
    for module in lean.modules():
        if type(module) is nn.Conv2d and module.in_channels == 3:
            module.__class__ = GreyConv2d
    lean = lean.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
    return _without_pool(lean, size) or lean


def _without_pool(network: nn.Module, size: int) -> nn.Module | None:
    """The network with its average pool multiplied into a linear layer, None where that cannot be done."""
    paths = [path for path, module in network.named_modules() if isinstance(module, AdaptiveAveragePool2d)]
    if len(paths) != 1:
        return None
    pool = network.get_submodule(paths[0])
    assert isinstance(pool, AdaptiveAveragePool2d)
    seen: list[torch.Size] = []
    hook = pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    device = next(network.parameters()).device
    images = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        expected = network(images)
    hook.remove()
    if len(seen) != 1:
        return None
    _, channels, height, width = seen[0]
    side = pool.output_size
    modules = dict(network.named_modules())
    after = list(modules)[list(modules).index(paths[0]) + 1 :]
    linear = [path for path in after if isinstance(modules[path], nn.Linear)][:1]
    if height * width >= side * side or not linear:
        return None
    layer = modules[linear[0]]
    assert isinstance(layer, nn.Linear)
    if layer.in_features != channels * side * side:
        return None
    rows, columns = (bins(length, side).to(layer.weight) for length in (height, width))
    weights = layer.weight.view(-1, channels, side, side)
    smaller = nn.Linear(channels * height * width, layer.out_features, device="meta")
    smaller.weight = nn.Parameter(
        torch.einsum("ocij,ih,jw->ochw", weights, rows, columns).flatten(1), requires_grad=False
    )
    smaller.bias = layer.bias
    changed = copy.deepcopy(network, {id(weights): weights for weights in network.parameters()})
    changed.set_submodule(paths[0], nn.Identity())
    changed.set_submodule(linear[0], smaller)
    # Whatever lies between the two in a network of another make: it is taken only if it says the same.
    try:
        with torch.inference_mode():
            same = torch.allclose(changed(images), expected, rtol=1e-4, atol=1e-4)
    except RuntimeError:  # of a shape
        return None
    return changed if same else None
