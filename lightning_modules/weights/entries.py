"""What a checkpoint holds: tensors by name, part by part, and what else there is."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lightning_modules.weights.file import listed, read_file
from lightning_modules.weights.stand_ins import StandIn, members_of
from stages.errors import RelayError

DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool}) | frozenset(
    {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
)
"""What a weight or a buffer may be stored as. Complex, quantised and 8-bit floating numbers are refused."""

# Names may share a tensor, and a tensor its numbers; but not beyond what reading them may take.
_MOST_SHARED, _SMALL = 16, 64 * 1024**2

_MOST_ENTRIES, _DEEPEST = 1_000_000, 100


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint, by name.

    Attributes:
        file: The path, as it was given.
        parts: Part -> name -> tensor. A part is a dictionary of tensors; it is named by the keys that lead to
            it, each with a dot behind: "" is the file's own, "state_dict." that of Lightning.
        others: What is not a tensor, by part and name, such as "epoch".
        architecture: The network's name, where the file says one (`arch`, also in `args`).
    """

    file: Path
    parts: Mapping[str, Mapping[str, Tensor]]
    others: tuple[str, ...]
    architecture: str | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors, by part and name, in the file's order."""
        return {part + name: it for part, inside in self.parts.items() for name, it in inside.items()}

    def checked(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of this file without gradient, if all are dense, finite and of a known dtype.

        Raises:
            RelayError: Names those that are not.
        """
        _check_kinds(self.file, tensors)
        _check_room(self.file, tensors)
        broken = [
            f"{name} ({int((~torch.isfinite(tensor)).sum())} of {tensor.numel()})"
            for name, tensor in tensors.items()
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
        ]
        if broken:
            raise RelayError(
                f"checkpoint {self.file} has weights that are NaN or infinite: {listed(sorted(broken))}; its "
                "training diverged, start from an earlier checkpoint"
            )
        return {name: tensor.detach() for name, tensor in tensors.items()}


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint: a state dict, or what trainers save around one, or a whole network.

    Nothing of it is run (`file.read_file`). Tensors are not looked at yet: see `Checkpoint.checked`.

    Args:
        path: See `file.read_file`.

    Raises:
        RelayError: The file cannot be read, or holds no tensors by name. The message names the file.
    """
    file = Path(path)
    payload = read_file(file)
    if not isinstance(payload, Mapping) and members_of(payload) is None:
        raise RelayError(
            f"checkpoint {file} holds one {type(payload).__name__}, not tensors by name; save "
            "`network.state_dict()`"
        )
    parts: dict[str, dict[str, Tensor]] = {}
    others: list[str] = []
    numbered: list[str] = []
    said: list[str] = []
    for count, (part, name, value) in enumerate(_walk(payload)):
        if count > _MOST_ENTRIES:
            raise RelayError(f"checkpoint {file} has more than {_MOST_ENTRIES:,} entries, as no network has")
        if not isinstance(name, str):
            numbered.append(part + repr(name))
        elif isinstance(value, Tensor):
            parts.setdefault(part, {})[name] = value
        else:
            others.append(part + name)
            said += _architecture(name, value)
    if not parts:
        raise _without_tensors(file, payload, others, numbered)
    return Checkpoint(file, parts, (*others, *numbered), next(iter(said), None))


def _architecture(name: str, value: object) -> list[str]:
    """The name of a network that an entry says, as torchvision's, timm's and DINO's scripts write it."""
    state = value.state if isinstance(value, StandIn) else None
    found = state.get("arch") if isinstance(state, dict) else value if name == "arch" else None
    return [found] if isinstance(found, str) and found.isprintable() and len(found) < 100 else []


def _walk(payload: object) -> Iterator[tuple[str, object, object]]:
    """Each leaf as (part, name, value), in order: through dictionaries by key, through networks by name.

    An empty dictionary and one whose names are not text are leaves, as an optimiser's state is.
    """
    waiting: list[tuple[str, str, object, int]] = [("", "", payload, 0)]
    while waiting:
        part, inside, value, depth = waiting.pop()
        members = members_of(value)
        if members is not None:
            found = [(part, f"{inside}{name}", it) for name, it in members.items()]
        else:
            assert isinstance(value, Mapping)
            found = [(part, name, it) for name, it in value.items()]
        deeper = []
        for place, name, it in found:
            module = members_of(it) is not None
            mapping = isinstance(it, Mapping) and it and all(isinstance(key, str) for key in it)
            if depth >= _DEEPEST or not isinstance(name, str) or not (module or mapping):
                yield place, name, it
            elif module and members is not None:
                deeper.append((part, f"{name}.", it, depth + 1))
            else:
                deeper.append((f"{part}{name}.", "", it, depth + 1))
        waiting += reversed(deeper)


def _without_tensors(file: Path, payload: object, others: list[str], numbered: list[str]) -> RelayError:
    keys = sorted(map(str, payload)) if isinstance(payload, Mapping) else []
    if "param_groups" in keys or any(name.endswith("param_groups") for name in others):
        why = "it is an optimiser's state. Give the file that has the network's"
    elif numbered:
        why = (
            f"its entries are not named by a string: {listed(sorted(numbered))}; save `network.state_dict()`"
        )
    elif keys:
        why = f"it has {listed(keys)}; save `network.state_dict()`"
    else:
        why = "it is an empty dictionary; save `network.state_dict()`"
    return RelayError(f"checkpoint {file} holds no tensors by name: {why}")


def _check_kinds(file: Path, tensors: Mapping[str, Tensor]) -> None:
    unusable = [
        f"{name} ({tensor.dtype}, {tensor.layout}, {tensor.device})"
        for name, tensor in tensors.items()
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided or tensor.device.type != "cpu"
    ]
    if unusable:
        known = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in DTYPES))
        raise RelayError(
            f"checkpoint {file} has tensors that cannot be weights: {listed(sorted(unusable))}; save them "
            f"dense, with their data, as one of {known}"
        )


def _check_room(file: Path, tensors: Mapping[str, Tensor]) -> None:
    size = file.expanduser().stat().st_size
    claimed = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    if sum(claimed.values()) > _MOST_SHARED * size + _SMALL:
        largest = max(claimed, key=lambda name: claimed[name])
        raise RelayError(
            f"checkpoint {file} has {size:,} bytes, but its tensors claim {sum(claimed.values()):,}, "
            f"{largest} alone {claimed[largest]:,}: they are views of few numbers, as expand() makes. Save "
            "them with .contiguous()"
        )
