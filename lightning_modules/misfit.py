"""Why a checkpoint may not fit a network, in words: another network, width, head or number of channels."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from lightning_modules.registry import network_names, specification_named
from lightning_modules.specification import Specification

_NEARLY = 0.9
"""Share of the network's tensors with which a file that fits none of timm's is not called another network."""


def hints(
    network: Specification,
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    architecture: str | None = None,
) -> list[str]:
    """What may be the matter with a checkpoint and what to do, a sentence each.

    Args:
        network: What the checkpoint was meant for.
        given: The checkpoint's tensors by name, with or without a prefix.
        wanted: The network's, those that the transfer rule keeps.
        architecture: What the checkpoint itself says that it is of.
    """
    if other := _other_network(network, given):
        return [f"It is a checkpoint of another architecture, with the names of {other}: add model={other}"]
    if 2 * len(given.keys() & wanted.keys()) >= len(wanted):
        said = [*_shapes(network, given, wanted)]
        if said or network.architecture is None:
            return said
    from lightning_modules.backbones import fitting

    found = fitting(given, architecture, network.architecture)
    if found is not None and found == (network.architecture or "").partition(".")[0]:
        return [
            f"It is of {found}, the right network: write a file with the network's own state dict alone, as "
            "floating point"
        ]
    fit = sum(key in given and given[key].shape == it.shape for key, it in wanted.items())
    if found is None and fit >= _NEARLY * len(wanted):
        return []
    says = "" if architecture is None else f" The file says that it is of {architecture}."
    if found is None:
        return [
            "It is of another architecture; none was found that it fits, of timm's networks with names like "
            f"its own.{says}"
        ]
    return [
        "It is of another architecture and fits one of timm's: add model=timm model.architecture="
        f"{found}.{says}"
    ]


def _other_network(network: Specification, given: Mapping[str, Tensor]) -> str | None:
    """The network, another one than this, whose feature layers all stand among the names."""
    for name in network_names():
        other = specification_named(name)
        if name != network.name and not _has(network, given) and _has(other, given):
            return name
    return None


def _has(network: Specification, given: Mapping[str, Tensor]) -> bool:
    layers = network.words["features"] or network.layer_names
    return all(_stands(network.layer(layer).path, given) for layer in layers)


def _stands(path: str, given: Mapping[str, Tensor]) -> bool:
    """Whether some name is of the module at a path, behind any prefix."""
    return any(f".{name}".rpartition(".")[0].endswith(f".{path}") for name in given)


def _shapes(
    network: Specification, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> Iterator[str]:
    other = {name for name in given.keys() & wanted.keys() if given[name].shape != wanted[name].shape}
    convolutions = [layer.path for layer in network.layers if layer.kind == "convolution"]
    first = f"{convolutions[0]}.weight" if convolutions else ""
    head = f"{network.layer(network.head).path}.weight"
    if first in other and given[first].ndim == 4 and given[first].shape[1] != wanted[first].shape[1]:
        there, here = given[first].shape[1], wanted[first].shape[1]
        remedy = (
            f": python -m lightning_modules.weights file=... out=weights.safetensors channels={here} "
            f"layer={first.removesuffix('.weight')}"
            if {there, here} == {1, 3}
            else ""
        )
        yield (
            f"Its first convolution takes {there} channel{'s' * (there != 1)}, the network's {here}; spread "
            f"or sum its weights{remedy}"
        )
    elif first in other and network.scalable:
        times = len(given[first]) / len(wanted[first])
        yield (
            f"Its first layer is {times:.3g} times as wide as the network's: set model.width to that times "
            "what it is (model.width=1 is the full width)"
        )
    if head in other:
        yield (
            f"Its head has {len(given[head])} classes, the stage {len(wanted[head])}: take a transfer rule "
            "that re-initialises the head, such as transfer=reuse_fc"
        )
