"""The modules and the parameters of a network's layers."""

from collections.abc import Mapping, Sequence

from torch import nn

from lightning_modules.build import specification
from lightning_modules.specification import Specification, keys_of_layers
from stages.errors import RelayError


def is_counter(name: str) -> bool:
    """Whether a name is that of a batch normalisation's count of batches.

    It has an effect with `momentum=None` only. PyTorch before 0.4.1 has none, half precision cannot count.
    """
    return name.rpartition(".")[2] == "num_batches_tracked"


def layer_modules(network: nn.Module) -> dict[str, nn.Module]:
    """The layers with parameters by name, in the order in which they run.

    Of a layer that is what a module itself holds (`Layer.own`), the module with all that is inside it.

    Raises:
        RelayError: The network has no specification.
    """
    return {layer.name: network.get_submodule(layer.path) for layer in specification(network).layers}


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """The first convolution of a network's layers; its stride is the step in which pixels are looked at.

    Raises:
        RelayError: The network has no specification, or its layers have no convolution.
    """
    layers = [layer for layer in specification(network).layers if not layer.own]
    for layer in layers:
        for module in network.get_submodule(layer.path).modules():
            if isinstance(module, nn.Conv2d):
                return module
    raise RelayError(f"{type(network).__name__} has no convolution among its layers")


def layer_parameters(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """The full names of each layer's parameters and persistent buffers, as in `network.state_dict()`.

    Returns:
        By the layer's name, in the order in which the layers run; each key of the state dict in exactly one
        layer, all keys of a tensor in the same one.

    Raises:
        RelayError: A key of the state dict belongs to no layer or to several, a layer has no parameter,
            layers of a network of Relay's own share one, or the network has no specification.
    """
    described = specification(network)
    keys = keys_of_layers(described.layers, network)
    if described.architecture is None:
        _check_shared(described, keys)
    listed = [key for layer in keys.values() for key in layer]
    strays = sorted(set(network.state_dict()) - set(listed))
    if strays:
        raise RelayError(
            f"{described.name}: {', '.join(strays)} belong to no layer; add it to the specification's layers"
        )
    repeated = sorted({key for key in listed if listed.count(key) > 1})
    if repeated:
        raise RelayError(
            f"{described.name}: {', '.join(repeated)} belong to several layers of the specification"
        )
    parameters = dict(network.named_parameters(remove_duplicate=False))
    for name, own in keys.items():
        if parameters.keys().isdisjoint(own):
            raise RelayError(f"{described.name}: layer {name} has no parameters; put it into another")
    return keys


def _check_shared(described: Specification, keys: Mapping[str, Sequence[str]]) -> None:
    """Refuse layers that hold one tensor together: each is initialised by itself, and the last would win."""
    for layer in described.layers:
        apart = [key for key in keys[layer.name] if not key.startswith(f"{layer.path}.") and layer.path]
        if apart:
            raise RelayError(
                f"{described.name}: {apart[0]} is a tensor of the layer {layer.name}, too; make one layer of "
                "the modules that share it"
            )
