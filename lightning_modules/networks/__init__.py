"""The networks, one file each, found by the file's name; and what can be asked of any of them."""

from lightning_modules.initialisation import initialise_layers
from lightning_modules.layers import first_convolution, layer_modules, layer_parameters
from lightning_modules.registry import (
    build_network,
    find_specification,
    network_names,
    specification,
    specification_named,
)

__all__ = [
    "build_network",
    "find_specification",
    "first_convolution",
    "initialise_layers",
    "layer_modules",
    "layer_parameters",
    "network_names",
    "specification",
    "specification_named",
]
