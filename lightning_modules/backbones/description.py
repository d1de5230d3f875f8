"""The specification of a network of timm's, from what timm says of it and from one run without numbers.

timm says where the head is (`pretrained_cfg`), where features may be taken (`feature_info`), which size and
which normalisation the network is made for. The layers are its modules, the order is the one in which a run
on torch's meta device first uses their parameters, and the taps are modules that gave one tensor in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import torch
from torch import nn

from lightning_modules.backbones.build import CHANNELS, build_backbone
from lightning_modules.backbones.trace import Trace, traced
from lightning_modules.specification import Input, Kind, Layer, Specification, keys_of_layers
from stages.errors import RelayError

_CLASSES = 7  # no width of a layer of features
_OWN = "embedding"  # tokens and positions, which the network itself holds
_POOLED = "pooled"
_IDLE = (nn.Dropout, nn.Identity)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_KINDS: Mapping[Kind, type[nn.Module] | tuple[type[nn.Module], ...]] = {
    "convolution": nn.Conv2d,
    "linear": nn.Linear,
    "normalisation": (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm),
}


@cache
def backbone_specification(architecture: str) -> Specification:
    """The specification of one of timm's classifiers; nothing is built but shapes.

    Raises:
        RelayError: timm has no such network, or it is no classifier of images of 3 channels.
    """
    network = _shapes(architecture)
    configuration: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    heads = head_paths(network)
    size = _size(architecture, configuration)
    try:
        trace = traced(network, torch.zeros(1, CHANNELS, size, size, device="meta"))
    except (
        RuntimeError,
        AssertionError,
        ValueError,
        TypeError,
        NotImplementedError,
        AttributeError,
    ) as error:
        raise RelayError(
            f"model.architecture is {architecture}, which cannot be described: {_first_line(error)}"
        ) from error
    if trace.shape != (1, _CLASSES) or not heads:
        raise RelayError(
            f"model.architecture is {architecture}, which has no classifier: it gives "
            f"{'no tensor' if trace.shape is None else tuple(trace.shape)} for one image. Choose one of "
            "timm's image classifiers"
        )
    layers = _layers(network, heads, trace)
    taps = _taps(network, layers, heads, trace)
    return Specification(
        name=architecture,
        layers=_with_taps(layers, taps, trace),
        head=heads[-1],
        heads=heads if len(heads) > 1 else (),
        taps=taps,
        default_tap=_default_tap(network, taps, layers),
        least_size=1,  # `check_size` tries
        architecture=architecture,
        input=Input(
            size=size,
            mean=_channels(configuration["mean"]),
            std=_channels(configuration["std"]),
            reduction=max((info.get("reduction") or 1 for info in _feature_info(network)), default=1),
        ),
        undefined=_undefined(network, layers, heads),
    )


@lru_cache(maxsize=64)
def check_size(architecture: str, size: int) -> None:
    """Refuse a size of images that a network does not take; a run without numbers tells.

    Raises:
        RelayError: Says why, and the network's own size.
    """
    network = _shapes(architecture)
    try:
        with torch.no_grad():
            network(torch.zeros(2, CHANNELS, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        own = backbone_specification(architecture).input
        assert own is not None
        raise RelayError(
            f"data.image_size is {size}, which {architecture} does not take ({_first_line(error)}); it is "
            f"made for data.image_size={own.size}, and images are resized to that"
        ) from None


def _shapes(architecture: str) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(architecture, _CLASSES).eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _size(architecture: str, configuration: Mapping[str, Any]) -> int:
    """The side of the images that a network is made for."""
    channels, height, width = configuration["input_size"]
    if channels != CHANNELS or (height != width and configuration.get("fixed_input_size")):
        raise RelayError(
            f"model.architecture is {architecture}, which takes images of {channels} channels and "
            f"{height}x{width} px; choose one for square images of {CHANNELS} channels"
        )
    return int(max(height, width))


def _channels(numbers: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, numbers)
    return red, green, blue


def head_paths(network: nn.Module) -> tuple[str, ...]:
    """The modules that give the logits: several in a distilled network, whose mean is taken."""
    configuration: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    named = configuration.get("classifier") or ()
    paths = (named,) if isinstance(named, str) else tuple(named)
    modules = dict(network.named_modules())
    return tuple(path for path in paths if path in modules and modules[path].state_dict())


def _feature_info(network: nn.Module) -> list[dict[str, Any]]:
    return list(getattr(network, "feature_info", None) or ())


def _layers(network: nn.Module, heads: tuple[str, ...], trace: Trace) -> tuple[Layer, ...]:
    """The layers in the order in which their parameters are first used, the heads last."""
    found: list[Layer] = []
    for path, own in _parts(network, "", heads):
        module = network.get_submodule(path)
        kind: Kind = next((kind for kind, wanted in _KINDS.items() if isinstance(module, wanted)), "block")
        name = f"{path}.{_OWN}".lstrip(".") if own else path
        found.append(Layer(name, path, "block" if own else kind, own=own))
    placed: list[tuple[bool, int, Layer]] = []
    last, keys = -1, keys_of_layers(found, network)
    for layer in found:
        if not keys[layer.name]:  # another layer has them all
            continue
        # What is never used stands where it was registered.
        last = min((trace.used[key] for key in keys[layer.name] if key in trace.used), default=last)
        placed.append((layer.path in heads, last, layer))
    return tuple(layer for *_, layer in sorted(placed, key=lambda it: it[:2]))


def _parts(module: nn.Module, path: str, heads: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Paths of the layers below a module, and whether only what the module itself holds is meant."""
    if not _opened(module, path, heads):
        yield path, False
        return
    children = [(name, child) for name, child in module.named_children() if child.state_dict()]
    inside = tuple(f"{name}." for name, _ in children)
    if any(not key.startswith(inside) for key in module.state_dict()):
        yield path, True
    for name, child in children:
        yield from _parts(child, f"{path}.{name}".lstrip("."), heads)


def _opened(module: nn.Module, path: str, heads: tuple[str, ...]) -> bool:
    """Whether a module is taken apart: the network, what holds a head, and what holds blocks."""
    if path == "" or any(head.startswith(f"{path}.") for head in heads):
        return True
    if path in heads:
        return False
    if isinstance(module, _CONTAINERS):
        # Inside a stage a row of plain layers, such as a normalisation and a convolution, is one layer.
        return "." not in path or any(list(child.children()) for child in module.children())
    return isinstance(getattr(module, "blocks", None), _CONTAINERS)


def _taps(
    network: nn.Module, layers: tuple[Layer, ...], heads: tuple[str, ...], trace: Trace
) -> dict[str, str]:
    """Name -> path of the modules where features are taken, in the order in which they end."""
    wanted = {layer.path for layer in layers if layer.kind == "block" and not layer.own} - {*heads}
    wanted |= {str(info["module"]) for info in _feature_info(network) if info.get("module")} - {*heads}
    taps = {path: path for path in trace.ended if path in wanted}
    flat = trace.flat_before(heads[0])
    # A dropout changes nothing in evaluation mode; what stands before it says more by its name.
    flat = [path for path in flat if not isinstance(network.get_submodule(path), _IDLE)] or flat
    if flat and flat[0] not in taps:
        taps[_POOLED] = flat[0]
    return taps


def _default_tap(network: nn.Module, taps: Mapping[str, str], layers: tuple[Layer, ...]) -> str:
    named = [str(info.get("module")) for info in _feature_info(network)]
    found = [path for path in named if path in taps] or [tap for tap in taps if tap != _POOLED] or list(taps)
    if not found:
        raise RelayError(f"{type(network).__name__} has no module whose features can be taken")
    return found[-1]


def _with_taps(layers: tuple[Layer, ...], taps: Mapping[str, str], trace: Trace) -> tuple[Layer, ...]:
    """Layers with the taps of their features: their own module, or an activation that follows."""
    paths = {layer.path for layer in layers if not layer.own}
    given = {layer.name: layer.path for layer in layers if layer.path in taps and not layer.own}
    ended = list(trace.ended)
    for tap in taps:
        if tap in paths or tap not in trace.ended or any(path.startswith(f"{tap}.") for path in paths):
            continue
        before = [layer for layer in layers if layer.path in ended[: ended.index(tap)] and not layer.own]
        if before and before[-1].name not in given and before[-1].kind in ("convolution", "normalisation"):
            given[before[-1].name] = tap
    return tuple(replace(layer, tap=given.get(layer.name)) for layer in layers)


def _undefined(network: nn.Module, layers: tuple[Layer, ...], heads: tuple[str, ...]) -> dict[str, str]:
    """Words of transfer rules that mean nothing in a network, with the reason."""
    plain = [
        layer.name
        for layer in layers
        if layer.kind == "block"
        and not layer.own
        and layer.path not in heads
        and not any(isinstance(part, nn.Conv2d) for part in network.get_submodule(layer.path).modules())
        and any(isinstance(part, nn.Linear) for part in network.get_submodule(layer.path).modules())
    ]
    if not plain:
        return {}
    which = plain[0] if len(plain) == 1 else f"{plain[0]} to {plain[-1]}"
    return {
        "linear": f"its features are not convolutions alone: {which} are of linear layers, so that there is "
        "no convolutional part to keep. Take feature or reuse_fc, or name layers"
    }
