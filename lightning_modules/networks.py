"""The networks by name, and their layers as a transfer rule names them."""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from torch import nn

from lightning_modules.alexnet import AlexNet
from lightning_modules.initialisation import Initialisation, initialise_each
from stages.errors import RelayError

NetworkName = Literal["alexnet", "torchvision_alexnet"]


def build_network(
    name: NetworkName,
    num_classes: int,
    dropout: float = 0.5,
    initialisation: Initialisation = "lecun_normal",
    width: float = 1.0,
    seed: int = 0,
) -> nn.Module:
    """A freshly initialised network; nothing is downloaded.

    Args:
        name: `alexnet` (2012, grouped, with normalisation) or `torchvision_alexnet` (2014, with neither).
        num_classes: number of outputs.
        dropout: probability of dropping a unit at the two fully connected layers, in [0, 1].
        initialisation: see `lightning_modules.initialisation.initialise`.
        width: share of the hidden layers' channels, in (0, 1]; of `alexnet` only.
        seed: of the initial weights, 0 or more; each layer has a stream of its own.

    Returns:
        A module from images (N, 3, H, W), H and W at least 63 px, to logits (N, num_classes).

    Raises:
        RelayError: an argument is out of range or unknown.
    """
    if name == "alexnet":
        return AlexNet(num_classes, dropout=dropout, initialisation=initialisation, width=width, seed=seed)
    if width != 1.0:
        raise RelayError(
            f"model.width={width}: {name} comes in one width; set model.width=1, or model=alexnet."
        )
    if name == "torchvision_alexnet":
        # Imported here because torchvision takes a second to load, and the default network does without.
        from lightning_modules.torchvision_alexnet import TorchvisionAlexNet

        return TorchvisionAlexNet(num_classes, dropout=dropout, initialisation=initialisation, seed=seed)
    raise RelayError(f"model: unknown network {name!r}; choose one of {', '.join(get_args(NetworkName))}.")


def layer_modules(network: nn.Module) -> dict[str, nn.Module]:
    """The layers with parameters by name, conv1 to fc8 in order.

    Raises:
        RelayError: the network does not say which of its modules these are (`layer_paths`).
    """
    return {name: network.get_submodule(path) for name, path in _layer_paths(network).items()}


def layer_parameters(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """The full names of each layer's parameters, as in `network.state_dict()`; each key in one layer.

    Returns:
        Such as {"conv1": ("conv1.weight", "conv1.bias"), ...}, conv1 to fc8 in order.

    Raises:
        RelayError: a key of the state dict belongs to no layer or to several, or `layer_paths` is missing.
    """
    keys = {
        name: tuple(f"{path}.{key}" for key in network.get_submodule(path).state_dict())
        for name, path in _layer_paths(network).items()
    }
    listed = [key for layer in keys.values() for key in layer]
    strays = sorted(set(network.state_dict()) - set(listed))
    if strays:
        raise RelayError(
            f"{type(network).__name__}: {', '.join(strays)} belong to no layer; add it to `layer_paths`."
        )
    repeated = sorted({key for key in listed if listed.count(key) > 1})
    if repeated:
        raise RelayError(
            f"{type(network).__name__}: {', '.join(repeated)} belong to several layers of `layer_paths`."
        )
    return keys


def initialise_layers(network: nn.Module, names: Iterable[str], scheme: Initialisation, seed: int) -> None:
    """Initialise some layers anew, in place.

    What a layer gets depends on seed, scheme and its name alone: fc8 by itself is the same fc8 that
    `build_network` gives with this seed.

    Args:
        network: one that `build_network` made.
        names: layer names, such as "fc7" and "fc8".
        scheme: see `lightning_modules.initialisation.initialise`.
        seed: 0 or more.

    Raises:
        RelayError: a name, the scheme or the seed is not a valid one; then nothing has been changed.
    """
    modules, names = layer_modules(network), tuple(names)
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise RelayError(
            f"initialisation: no layer {', '.join(unknown)}; the layers are {', '.join(modules)}."
        )
    initialise_each({name: modules[name] for name in names}, scheme, seed)


def _layer_paths(network: nn.Module) -> Mapping[str, str]:
    paths = getattr(network, "layer_paths", None)
    if not isinstance(paths, Mapping):
        raise RelayError(
            f"{type(network).__name__} has no `layer_paths`, the mapping of conv1 to fc8 to its modules; "
            "build it with build_network."
        )
    return paths
