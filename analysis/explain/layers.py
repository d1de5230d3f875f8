"""A network's layers by name, and their activations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_modules.build import find_specification
from lightning_modules.registry import default_taps
from stages.errors import RelayError

_LISTED = 40
"""Layers that an error lists; of more it offers near names."""


class Reached(Exception):  # not an error: it ends a forward pass early
    """The last layer of interest has run; what follows it need not."""


def layer_names(network: nn.Module) -> dict[str, str]:
    """The names by which a network's modules can be asked for, each with its module's path.

    These are the layers and the taps of its specification, which come first, and all paths, such as
    `features.0`. A network without a specification has the paths alone.
    """
    described = find_specification(network)
    paths = {path: path for path, _ in network.named_modules() if path}
    if described is None:
        return paths
    named = {layer.name: layer.path for layer in described.layers} | dict(described.taps)
    order = {path: place for place, path in enumerate(paths)}
    known = {name: path for name, path in named.items() if path in order}
    return dict(sorted(known.items(), key=lambda item: order[item[1]])) | paths


def tap_of(network: nn.Module, name: str | None) -> str:
    """The module that is asked for, or else the default tap of the network's specification.

    A network without a specification has the default tap of a known network if one of its modules has that
    name.

    Raises:
        RelayError: If none is asked for and there is no default.
    """
    if name is not None:
        return name
    described = find_specification(network)
    if described is not None:
        return described.default_tap
    names = layer_names(network)
    for tap in default_taps():
        if tap in names:
            return tap
    raise RelayError(
        f"{type(network).__name__} has no specification and so no default layer; give one of its layers, "
        f"{', '.join(names) or 'none'}"
    )


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """The module of a layer.

    Raises:
        RelayError: If the network has none of that name; lists those that it has, of many the nearest.
    """
    names = layer_names(network)
    if name not in names:
        shared = dict(network.named_modules(remove_duplicate=False)).get(name) if name else None
        if shared is not None:
            first = next(path for path, module in network.named_modules() if module is shared)
            raise RelayError(
                f"{name} is the same module as {first}, and its first call counts; ask for {first}, or for a "
                "layer that comes after"
            )
        shown = [known for known, path in names.items() if not known[:1].isdigit() or known == path]
        near = get_close_matches(name, shown, n=5)
        if len(shown) > _LISTED and near:
            advice = f"did you mean {' or '.join(near)}? It has {len(shown)}"
        else:
            advice = f"its layers are {', '.join(shown) or 'none'}"
        raise RelayError(f"{type(network).__name__} has no layer {name!r}; {advice}")
    return network.get_submodule(names[name])


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode (no dropout, stored statistics); each module's mode is put back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def hooked() -> Iterator[list[RemovableHandle]]:
    """A list for the handles of hooks; all of these hooks are removed at the end, after an error too."""
    handles: list[RemovableHandle] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


def run(network: nn.Module, images: Tensor) -> None:
    """Run a network on images until a hook raises `Reached`, or to its end.

    Raises:
        RelayError: If the network does not take such images.
    """
    try:
        network(images)
    except Reached:
        return
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).strip().splitlines()
        raise RelayError(
            f"{type(network).__name__} does not take images of shape {tuple(images.shape)}, {images.dtype}, "
            f"on {images.device}: {reason[0] if reason else type(error).__name__}"
        ) from error


def activations(
    network: nn.Module, images: Tensor, layers: Sequence[str], *, batch_size: int = 32
) -> Iterator[Mapping[str, Tensor]]:
    """Activations of some layers in evaluation mode, one batch of images at a time.

    Where a network calls a module several times, its first call counts.

    Args:
        network: Any.
        images: (N, C, H, W), as the network takes them.
        layers: Their names; see `layer_names`.
        batch_size: Images at once, at least 1.

    Yields:
        For each batch of B images, by layer name, a tensor (B, ...).

    Raises:
        RelayError: For an unknown layer, one that does not run, or images that do not fit.
    """
    modules = {name: find_layer(network, name) for name in layers}
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise RelayError(f"{name} gives something other than one tensor, and so has no features")
            found.setdefault(name, output.detach().clone())  # a clone: an in-place ReLU may follow
            if len(found) == len(modules):
                raise Reached

        return hook

    for batch in torch.split(images, batch_size):
        found.clear()
        with evaluating(network), torch.no_grad(), hooked() as handles:
            handles.extend(module.register_forward_hook(keep(name)) for name, module in modules.items())
            run(network, batch.clone())  # a first layer may work in place
        missing = [name for name in modules if name not in found]
        if missing:
            raise RelayError(f"{', '.join(missing)} did not run in {type(network).__name__}'s forward pass")
        yield dict(found)
