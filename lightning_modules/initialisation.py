"""Initial weights of a network's layers, one random stream per layer.

Every layer draws from its own generator, derived from a seed and the layer's name alone. Initialising the
head by itself therefore gives the same head as initialising the whole network, in whatever order, which is
what a transfer rule needs when it re-initialises some layers and keeps others.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import torch
from torch import nn

from lightning_modules.build import specification
from lightning_modules.layers import layer_modules, layer_parameters
from lightning_modules.specification import Layer
from stages.errors import RelayError, unknown_name
from stages.recipe import Initialisation
from stages.seeds import derive_seed


def layer_generator(name: str, seed: int) -> torch.Generator:
    """Random generator on the CPU for the layer `name`, independent of every other layer's.

    Args:
        name: Name of the layer.
        seed: Seed of the initialisation, 0 or more.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *name.encode()))


def check_scheme(scheme: str) -> None:
    """Refuse a scheme that is unknown.

    Raises:
        RelayError: Names the schemes.
    """
    known = [name for name in get_args(Initialisation) if name != "timm"]
    if scheme not in known:
        raise unknown_name("initialisation", scheme, known)


def initialise_layers(network: nn.Module, names: Iterable[str], scheme: str, seed: int) -> None:
    """Give some layers fresh weights, in place.

    What a layer gets depends on seed, scheme and the layer alone: the head by itself is the same head that
    `build_network` gives with this seed. See `initialise` for the schemes.

    Args:
        network: One with a specification.
        names: Names of layers.
        scheme: See `initialise`; of no effect on a network of timm's, which has timm's own.
        seed: 0 or more.

    Raises:
        RelayError: A name, the scheme or the seed is not valid, or a layer holds a module that cannot be
            initialised; then nothing has been changed.
    """
    described = specification(network)
    layers = [described.layer(name) for name in names]
    if seed < 0:
        raise RelayError(f"initialisation: the seed is {seed}; give 0 or more.")
    if described.architecture is not None:
        _initialise_as_timm(network, described.architecture, layers, seed)
        return
    modules = layer_modules(network)
    check_scheme(scheme)
    for layer in layers:
        _check_module(modules[layer.name], layer.name)
    for layer in layers:
        initialise(modules[layer.name], layer, scheme, seed)


def _initialise_as_timm(network: nn.Module, architecture: str, layers: Sequence[Layer], seed: int) -> None:
    """Copy layers from a new network of the seed: what timm draws for one may depend on those before it."""
    own = network.state_dict(keep_vars=True)
    of_layers = layer_parameters(network)
    keys = [key for layer in layers for key in of_layers[layer.name] if not own[key].is_meta]
    if not keys:
        return
    from lightning_modules.backbones import fresh_state

    fresh = fresh_state(architecture, int(getattr(network, "num_classes")), seed)  # noqa: B009  # not a Tensor
    with torch.no_grad():
        for key in keys:
            own[key].copy_(fresh[key])


def initialise(module: nn.Module, layer: Layer, scheme: str, seed: int) -> None:
    """Give a layer's module, and all modules inside it, fresh weights, in place.

    The scheme is for convolutions of images and linear layers. It is one of

    - `lecun_normal`: normal with standard deviation sqrt(1 / fan_in), not truncated, and zero biases; fan_in
      counts the inputs of one output, so one group's channels in a grouped convolution. It is what the first
      author's public code uses.
    - `krizhevsky`: Krizhevsky et al. 2012, section 5: standard deviation 0.01; biases 1 in layers that the
      specification marks with `raised_bias`, else 0. A 2012-style bias of 1 is known to give a flat loss at
      learning rates such as this paper's.
    - `caffe`: Caffe's bvlc_alexnet: standard deviation 0.01, in `narrow` layers 0.005; biases 0.1 in layers
      with `raised_bias`, else 0.

    Any other module with weights, such as a normalisation, gets those of its own `reset_parameters`.

    Args:
        module: The layer's module. On the meta device no weight is drawn.
        layer: Its description. The module itself draws from the stream of the layer's name, a module inside
            it from the stream of the layer's name and its own path, with a dot between.
        scheme: See above.
        seed: 0 or more. Numbers are drawn on the CPU in the weight's logical order, so that device and
            memory format do not change them.

    Raises:
        RelayError: The scheme is unknown, or the layer holds a module that cannot be initialised.
    """
    check_scheme(scheme)
    _check_module(module, layer.name)
    for path, part in module.named_modules():
        generator = layer_generator(f"{layer.name}.{path}".rstrip("."), seed)
        if isinstance(part, nn.Conv2d | nn.Linear):
            _draw(part, layer, scheme, generator)
        elif _has_state(part):
            _reset(part, generator)


def _draw(module: nn.Conv2d | nn.Linear, layer: Layer, scheme: str, generator: torch.Generator) -> None:
    bias = 0.0
    if scheme == "lecun_normal":
        deviation = module.weight[0].numel() ** -0.5
    elif scheme == "krizhevsky":
        deviation = 0.01
        bias = 1.0 if layer.raised_bias else 0.0
    else:
        deviation = 0.005 if layer.narrow else 0.01
        bias = 0.1 if layer.raised_bias else 0.0
    with torch.no_grad():
        if not module.weight.is_meta:
            drawn = torch.empty(module.weight.shape, dtype=torch.float32, device="cpu")
            module.weight.copy_(drawn.normal_(0.0, deviation, generator=generator))
        if module.bias is not None:
            module.bias.fill_(bias)


def _reset(module: nn.Module, generator: torch.Generator) -> None:
    """A module's own initialisation, on the CPU, from `generator` in place of torch's own."""
    if any(tensor.is_meta for tensor in module.state_dict().values()):
        return
    fresh: Any = copy.deepcopy(module).to("cpu").to(memory_format=torch.contiguous_format)
    before = torch.default_generator.get_state()
    try:
        torch.default_generator.set_state(generator.get_state())
        fresh.reset_parameters()  # _check_module has seen that it is there
    finally:
        torch.default_generator.set_state(before)
    own = module.state_dict()
    with torch.no_grad():
        for name, tensor in fresh.state_dict().items():
            own[name].copy_(tensor)


def _has_state(module: nn.Module) -> bool:
    """Whether a module itself, without those inside it, has parameters or persistent buffers."""
    inside = {f"{name}." for name, _ in module.named_children()}
    return any(not key.startswith(tuple(inside)) for key in module.state_dict())


def _check_module(module: nn.Module, name: str) -> None:
    """Refuse a layer without weights, or with some that nothing says how to initialise."""
    if not module.state_dict():
        raise RelayError(f"initialisation: layer {name} is a {type(module).__name__}; it has no weights.")
    for path, part in module.named_modules():
        known = isinstance(part, nn.Conv2d | nn.Linear) or callable(getattr(part, "reset_parameters", None))
        if _has_state(part) and not known:
            raise RelayError(
                f"initialisation: {name}{path and '.'}{path} is a {type(part).__name__}, which has weights "
                "and no `reset_parameters`; write that method."
            )
