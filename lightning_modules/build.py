"""A network built by its name, and the specification of one that is built."""

from functools import cache

from torch import nn

from lightning_modules.registry import (
    check_width,
    network_file,
    network_names,
    specification_named,
    specification_of,
)
from lightning_modules.specification import Kind, Specification
from stages.errors import RelayError
from stages.recipe import Model

_MODULES: dict[Kind, type[nn.Module] | tuple[type[nn.Module], ...]] = {
    "convolution": nn.Conv2d,
    "linear": nn.Linear,
    "normalisation": (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm),
    "block": nn.Module,
}


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
        name: One of `network_names()`; `build_model` builds timm's, too.
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
    file = network_file(name)
    check_width(file.SPECIFICATION, width)
    scaled = {"width": width} if file.SPECIFICATION.scalable else {}
    network = file.build(num_classes, dropout=dropout, initialisation=initialisation, seed=seed, **scaled)
    if find_specification(network) != file.SPECIFICATION:
        network.specification = file.SPECIFICATION  # type: ignore[assignment]  # torch thinks of modules only
    _check_modules(network, file.SPECIFICATION)
    return network


def build_model(model: Model, num_classes: int, seed: int = 0) -> nn.Module:
    """The network that a configuration or a recipe names, with fresh weights; see `build_network`.

    Raises:
        RelayError: As `build_network`, and where timm has no such classifier.
    """
    described = specification_of(model)
    if described.architecture is None:
        return build_network(model.name, num_classes, model.dropout, model.initialisation, model.width, seed)
    check_width(described, model.width)
    from lightning_modules.backbones import build_backbone

    network = build_backbone(described.architecture, num_classes, dropout=model.dropout, seed=seed)
    network.specification = described  # type: ignore[assignment]  # torch thinks of modules only
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
