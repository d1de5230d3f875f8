"""Backward paths by other means: captum, torch's autograd, and loops in the plainest form."""

import copy
import warnings
from collections.abc import Sequence

import torch
from captum.attr import Deconvolution, GuidedBackprop
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.alexnet import AlexNet, Normalisation
from lightning_modules.pooling import AdaptiveAveragePool2d


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_random_biases(network: nn.Module, seed: int = 0) -> nn.Module:
    """Biases that are not zero, most of them positive, so that few features are."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, 0.1, 0.2, generator=generator)
    return network


def small_alexnet(normalisation: Normalisation = "none", dtype: torch.dtype = torch.float64) -> nn.Module:
    return with_random_biases(AlexNet(5, normalisation=normalisation, width=0.0625, seed=3)).to(dtype)


def small_chain() -> nn.Sequential:
    """Layers 0 to 5 for images of 3x11x11."""
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(64, 5), nn.ReLU())
    made = nn.Sequential(*layers).double()
    for seed, parameter in enumerate(made.parameters()):
        nn.init.normal_(parameter, 0.1, 0.4, generator=torch.Generator().manual_seed(seed))
    return made


class HalfEnergy(nn.Module):
    """Half the squared norm of a module's output, an image: its gradient starts from that output itself.

    The output is cloned, for a sum in place may follow. Modules work out of place, as captum needs them.
    """

    def __init__(self, network: nn.Module, path: str) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        self.path = path
        for module in self.network.modules():
            if hasattr(module, "inplace"):
                module.inplace = False

    def forward(self, images: Tensor) -> Tensor:
        kept: list[Tensor] = []
        module = self.network.get_submodule(self.path)
        handle = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output.clone()))
        self.network(images)
        handle.remove()
        return kept[0].flatten(1).square().sum(1) / 2


def autograds(network: nn.Module, images: Tensor, path: str) -> Tensor:
    variable = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(HalfEnergy(network, path)(variable).sum(), variable)
    return gradient


def elsewhere(network: nn.Module, images: Tensor, path: str, rule: str) -> Tensor:
    """A rule by captum or autograd; captum has a rule of its own for ReLU modules only."""
    if rule == "saliency":
        return autograds(network, images, path)
    method = {"desalinet": GuidedBackprop, "deconvnet": Deconvolution}[rule]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")
        attributed: Tensor = method(HalfEnergy(network, path)).attribute(images.clone().requires_grad_())
    return attributed.detach()


def plain(modules: Sequence[nn.Module], images: Tensor, rule: str, signal: Tensor | None = None) -> Tensor:
    """`desalinet` and `deconvnet` along a chain; a local response normalisation is the identity."""
    inputs, value = [], images.clone()
    with torch.no_grad():
        for module in modules:
            inputs.append(value.clone())
            value = module(value)
        current = value.clone() if signal is None else signal.clone()
        for module, given in zip(reversed(modules), reversed(inputs), strict=True):
            if isinstance(module, nn.ReLU):
                if rule == "desalinet":
                    current = torch.where(given > 0, current, 0.0)
                current = torch.where(current > 0, current, 0.0)
            elif isinstance(module, nn.Conv2d):
                current = convolution_backward(module, given, current)
            elif isinstance(module, nn.MaxPool2d):
                current = switches(module, given, current)
            elif isinstance(module, AdaptiveAveragePool2d):
                current = means_backward(module.output_size, given, current)
            elif isinstance(module, nn.BatchNorm2d):
                assert module.running_var is not None
                scale = module.weight / (module.running_var + module.eps).sqrt()
                current = current * scale[:, None, None]
            elif isinstance(module, nn.Linear):
                current = torch.einsum("no,oi->ni", current, module.weight)
            elif isinstance(module, nn.Flatten):
                current = current.view(given.shape)
    return current


def convolution_backward(module: nn.Conv2d, given: Tensor, signal: Tensor) -> Tensor:
    """The signal at every output, times the filter's tap, goes back to the pixel that the tap met."""
    (top, left), (down, across) = module.padding, module.stride
    (high, wide), (height, width) = module.dilation, given.shape[2:]
    padded = given.new_zeros(*given.shape[:2], height + 2 * top, width + 2 * left)
    inputs, outputs = (channels // module.groups for channels in (module.in_channels, module.out_channels))
    for group in range(module.groups):
        to = slice(group * inputs, (group + 1) * inputs)
        of = slice(group * outputs, (group + 1) * outputs)
        for row in range(module.kernel_size[0]):
            for column in range(module.kernel_size[1]):
                tap = torch.einsum("nohw,oi->nihw", signal[:, of], module.weight[of, :, row, column])
                rows = torch.arange(signal.shape[2]) * down + row * high
                columns = torch.arange(signal.shape[3]) * across + column * wide
                padded[:, to, rows[:, None], columns[None, :]] += tap
    return padded[:, :, top : top + height, left : left + width]


def switches(module: nn.MaxPool2d, given: Tensor, signal: Tensor) -> Tensor:
    """Each value goes to the first maximum of its window, and is added to what is there."""
    size, step = int(module.kernel_size), int(module.stride)
    result = torch.zeros_like(given)
    for row in range(signal.shape[2]):
        for column in range(signal.shape[3]):
            window = given[:, :, row * step : row * step + size, column * step : column * step + size]
            at = window.flatten(2).argmax(2, keepdim=True)
            place = (row * step + at // size) * given.shape[3] + column * step + at % size
            result.flatten(2).scatter_add_(2, place, signal[:, :, row, column, None])
    return result


def means_backward(bins: int, given: Tensor, signal: Tensor) -> Tensor:
    """By torch's own function."""
    with torch.enable_grad():
        variable = given.clone().requires_grad_()
        pooled = functional.adaptive_avg_pool2d(variable, bins)
        return torch.autograd.grad(pooled, variable, signal)[0]
