"""The networks by name, as they are described; torch is not loaded, so that planning is quick."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from lightning_modules.specification import Specification
from stages.errors import RelayError, unknown_name
from stages.recipe import Model

if TYPE_CHECKING:
    from torch import nn

_PACKAGE = "lightning_modules.networks"
TIMM = "timm"
"""`model.name` of all of timm's networks; `model.architecture` says which."""


class NetworkFile(Protocol):
    """What a file `lightning_modules/networks/NAME.py` declares.

    Attributes:
        SPECIFICATION: The network's description; its name is NAME.
        build: Makes the network with fresh weights and downloads nothing. Whatever loads torch is imported
            inside of it: a plan needs the description alone. It is called as
            `build(num_classes, dropout=..., initialisation=..., seed=...)`, and with `width=...` if the
            specification says that the network is scalable. The weights come from
            `lightning_modules.initialisation.initialise_layers`. The module maps images (N, 3, H, W) to
            logits (N, num_classes).
    """

    SPECIFICATION: Specification
    build: "Callable[..., nn.Module]"


def network_names() -> tuple[str, ...]:
    """The networks of Relay's own that `model.name` can name: the files of `lightning_modules/networks`."""
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
    return network_file(name).SPECIFICATION


def specification_of(model: Model) -> Specification:
    """The specification of the network that a configuration or a recipe names; nothing is built.

    Raises:
        RelayError: There is no such network, or it does not come as the configuration says.
    """
    if model.name != TIMM:
        if model.architecture is not None:
            raise RelayError(
                f"model.architecture is {model.architecture}, but {model.name} is one network: add model=timm"
            )
        if model.initialisation == TIMM:
            raise RelayError(f"model.initialisation is timm, but {model.name} is a network of Relay's own")
        return specification_named(model.name)
    if model.architecture is None:
        raise RelayError(
            "model.architecture is null; model=timm takes the name of one of timm's image classifiers, such "
            "as model.architecture=resnet18"
        )
    if model.initialisation != TIMM:
        raise RelayError(
            f"model.initialisation is {model.initialisation}; timm's networks start with timm's own weights: "
            "set model.initialisation=timm"
        )
    from lightning_modules.backbones import backbone_specification

    return backbone_specification(model.architecture)


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


def network_file(name: str) -> NetworkFile:
    """The file of a network.

    Raises:
        RelayError: There is no such network, or its file describes another.
    """
    if name not in network_names():
        raise unknown_name("model.name", name, (*network_names(), TIMM))
    file = cast(NetworkFile, importlib.import_module(f"{_PACKAGE}.{name}"))
    if file.SPECIFICATION.name != name:
        raise RelayError(
            f"lightning_modules/networks/{name}.py describes a network named {file.SPECIFICATION.name!r}; "
            "name it as its file is named"
        )
    return file
