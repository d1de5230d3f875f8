"""The networks by name, and the specification of a network."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Protocol, cast

from torch import nn

from lightning_modules.specification import Kind, Specification
from stages.errors import RelayError, unknown_name

_MODULES: dict[Kind, type[nn.Module] | tuple[type[nn.Module], ...]] = {
    "convolution": nn.Conv2d,
    "linear": nn.Linear,
    "normalisation": (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm),
    "block": nn.Module,
}
_PACKAGE = "lightning_modules.networks"


class NetworkFile(Protocol):
    """What a file `lightning_modules/networks/NAME.py` declares.

    Attributes:
        SPECIFICATION: The network's description; its name is NAME.
        build: Makes the network with fresh weights and downloads nothing. It is called as
            `build(num_classes, dropout=..., initialisation=..., seed=...)`, and with `width=...` if the
            specification says that the network is scalable. The weights come from
            `lightning_modules.initialisation.initialise_layers`. The module maps images (N, 3, H, W) to
            logits (N, num_classes).
    """

    SPECIFICATION: Specification
    build: Callable[..., nn.Module]


def network_names() -> tuple[str, ...]:
    """The networks that `model.name` can name: the files of `lightning_modules/networks`."""
    package = importlib.import_module(_PACKAGE)
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def default_taps() -> tuple[str, ...]:
    """The default taps of all networks, each once."""
    return tuple(dict.fromkeys(specification_named(name).default_tap for name in network_names()))


def specification_named(name: str) -> Specification:
    """The specification of the network that `model.name` names; nothing is built.

    Raises:
        RelayError: There is no such network; names those that there are, similar ones first.
    """
    return _file(name).SPECIFICATION


def build_network(
    name: str,
    num_classes: int,
    dropout: float = 0.5,
    initialisation: str = "lecun_normal",
    width: float = 1.0,
    seed: int = 0,
) -> nn.Module:
    """A freshly initialised network; nothing is downloaded.

    Args:
        name: One of `network_names()`.
        num_classes: Number of outputs.
        dropout: Probability of dropping a unit, in [0, 1].
        initialisation: See `lightning_modules.initialisation.initialise_layers`.
        width: Share of the hidden layers' channels, in (0, 1]; 1 for a network that is not scalable.
        seed: Of the initial weights, 0 or more; each layer has a stream of its own.

    Returns:
        A module from images (N, 3, H, W), H and W at least the specification's `least_size`, to logits
        (N, num_classes). `specification` gives its description.

    Raises:
        RelayError: An argument is out of range or unknown, or the file describes modules that its network
            does not have.
    """
    file = _file(name)
    check_width(file.SPECIFICATION, width)
    scaled = {"width": width} if file.SPECIFICATION.scalable else {}
    network = file.build(num_classes, dropout=dropout, initialisation=initialisation, seed=seed, **scaled)
    if find_specification(network) != file.SPECIFICATION:
        network.specification = file.SPECIFICATION  # type: ignore[assignment]  # torch thinks of modules only
    _check_modules(network, file.SPECIFICATION)
    return network


def _check_modules(network: nn.Module, described: Specification) -> None:
    modules = dict(network.named_modules())
    kinds: dict[str, Kind | None] = {path: None for path in described.taps.values()}
    for path, kind in (kinds | {layer.path: layer.kind for layer in described.layers}).items():
        wanted = nn.Module if kind is None else _MODULES[kind]
        if not isinstance(modules.get(path), wanted):
            found = type(modules[path]).__name__ if path in modules else "nothing"
            raise RelayError(
                f"lightning_modules/networks/{described.name}.py describes {path} as {kind or 'a tap'}, but "
                f"in the network it is {found}"
            )


def check_width(network: Specification, width: float) -> None:
    """Refuse a width that a network does not come in.

    Raises:
        RelayError: Names the networks that are scalable.
    """
    if width != 1.0 and not network.scalable:
        others = [name for name in network_names() if specification_named(name).scalable]
        raise RelayError(
            f"model.width is {width}; {network.name} comes in one width: set model.width=1, or choose "
            f"model={' or '.join(others)}"
        )


def specification(network: nn.Module) -> Specification:
    """The description of a network: one that `build_network` made, or the class of which one describes.

    Raises:
        RelayError: The network has none.
    """
    found = find_specification(network)
    if found is None:
        raise RelayError(
            f"{type(network).__name__} has no `specification`, which says what its layers are; build it with "
            "build_network"
        )
    return found


def find_specification(network: nn.Module) -> Specification | None:
    """As `specification`, but None for a network that has none."""
    own = getattr(network, "specification", None)
    return own if isinstance(own, Specification) else _outside(type(network).__mro__)


@cache
def _outside(bases: tuple[type, ...]) -> Specification | None:
    """The specification that describes one of these classes of another package, if there is one."""
    names = {f"{base.__module__}.{base.__qualname__}" for base in bases}
    known = [specification_named(name) for name in network_names()]
    return next((described for described in known if described.outside_class in names), None)


def _file(name: str) -> NetworkFile:
    if name not in network_names():
        raise unknown_name("model.name", name, network_names())
    file = cast(NetworkFile, importlib.import_module(f"{_PACKAGE}.{name}"))
    if file.SPECIFICATION.name != name:
        raise RelayError(
            f"lightning_modules/networks/{name}.py describes a network named {file.SPECIFICATION.name!r}; "
            "name it as its file is named"
        )
    return file
