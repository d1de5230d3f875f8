"""Which of timm's networks a file's weights are of."""

import inspect
import re
import sys
from collections.abc import Mapping
from functools import cache
from itertools import zip_longest

import timm
import torch
from torch import Tensor

from lightning_modules.backbones.build import build_backbone
from lightning_modules.backbones.description import head_paths
from stages.errors import RelayError

_MOST_FAMILIES, _MOST_BUILT, _LEAST_SHARE = 8, 120, 0.5
"""What a refusal looks at: families of timm's, networks in all, and what share of names in common."""


def fitting(given: Mapping[str, Tensor], *near: str | None) -> str | None:
    """The name of a network of timm's that a file is of: its heads apart, the names and shapes are the same.

    Args:
        given: The file's tensors by name, behind any one prefix and beside others.
        near: Networks that it may be of, tried first.

    Returns:
        The first one of `near` that fits; else one of the families whose names are most like the file's,
        in the order of `_members`; None if none does.
    """
    known = frozenset(timm.list_models())
    named = [base for name in near if name is not None and (base := name.partition(".")[0]) in known]
    for name in named:
        if _fits(name, given):
            return name
    return next((name for name in _members(given)[:_MOST_BUILT] if _fits(name, given)), None)


def _members(given: Mapping[str, Tensor]) -> list[str]:
    """Networks, those first that are most likely the file's: of the families that are most like its names.

    Of the families whose sources name the most modules of the file's, their own and those that they take
    blocks from, three networks each are compared with it: one family may hold several kinds. Networks of
    families that are equally like it come in the order of `_said`, families in turns, so that one large
    family does not use up what may be built.
    """
    sizes = _sizes(given)
    pieces = {piece for name in given for piece in name.split(".") if not piece.isdigit()}
    named = {
        family: (len(pieces & own), len(pieces & (own | taken)))
        for family, (own, taken) in _names_in_sources().items()
    }
    by_own, by_all = (
        sorted(named, key=lambda family: (named[family][place], named[family]), reverse=True)[:_MOST_FAMILIES]
        for place in (0, 1)
    )
    found: dict[float, list[list[str]]] = {}
    for family in dict.fromkeys([*by_own, *by_all]):
        members = sorted(timm.list_models(module=family), key=lambda each: (-_said(each, sizes), len(each)))
        some = {*members[:2], *members[-1:]} if any(named[family]) else ()
        share = max((_share(name, given) for name in some), default=0.0)
        if share > _LEAST_SHARE:
            found.setdefault(share, []).append(members)
    turns = (zip_longest(*found[share]) for share in sorted(found, reverse=True))
    return [name for rows in turns for row in rows for name in row if name is not None]


def _sizes(given: Mapping[str, Tensor]) -> frozenset[int]:
    """The numbers that a network's definition may name: sizes of tensors, and how many blocks a part has."""
    last: dict[str, int] = {}
    for name in given:
        for number in re.finditer(r"\.(\d+)(?=\.)", name):
            part = name[: number.start()]
            last[part] = max(last.get(part, 0), int(number[1]) + 1)
    return frozenset(last.values()).union(*(tuple(it.shape) for it in given.values()))


def _said(name: str, sizes: frozenset[int]) -> float:
    """What share of the numbers in a network's own function, such as a width, are among a file's sizes."""
    source = inspect.getsource(timm.model_entrypoint(name))
    said = {int(each) for each in re.findall(r"(?<![\w.])\d+(?![\w.])", source.partition("dict(")[2])}
    return len(said & sizes) / len(said) if said else 0.0


@cache
def _names_in_sources() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Family -> names in its own source, and names in the sources of timm's models that it imports."""
    loaded = {
        name.removeprefix("timm.models."): inspect.getsource(module)
        for name, module in sys.modules.items()
        if name.startswith("timm.models.") and getattr(module, "__file__", None)
    }
    names = {name: frozenset(re.findall(r"(?:self\.|')(\w+)", source)) for name, source in loaded.items()}
    return {
        family: (names[family], frozenset[str]().union(*(names.get(other, ()) for other in imported)))
        for family in timm.list_modules()
        if family in loaded
        for imported in [re.findall(r"from (?:\.|timm\.models\.)(\w+) import", loaded[family])]
    }


def _share(name: str, given: Mapping[str, Tensor]) -> float:
    """How many names of a network are a file's, but for numbers and what stands before them."""
    ends = {re.sub(r"\d+", "0", each) for each in _shapes(name)[0]}
    parts = {tuple(re.sub(r"\d+", "0", each).split(".")) for each in given}
    there = {".".join(each[cut:]) for each in parts for cut in range(len(each))}
    return len(ends & there) / max(1, len(ends))


def _fits(name: str, given: Mapping[str, Tensor]) -> bool:
    shapes, heads = _shapes(name)
    first, tops = next(iter(shapes), "."), {key.partition(".")[0] for key in shapes}
    for start in (each.removesuffix(first) for each in given if f".{each}".endswith(f".{first}")):
        behind = {each.removeprefix(start): it.shape for each, it in given.items() if each.startswith(start)}
        if shapes == _without_heads(
            {key: it for key, it in behind.items() if key.partition(".")[0] in tops}, heads
        ):
            return True
    return False


@cache
def _shapes(name: str) -> tuple[dict[str, torch.Size], tuple[str, ...]]:
    """Key -> shape of a network without its heads, and these; empty if it cannot be built."""
    try:
        with torch.device("meta"):
            network = build_backbone(name, 2)
    except RelayError:
        return {}, ()
    heads = tuple(f"{path}." for path in head_paths(network))
    return _without_heads({key: it.shape for key, it in network.state_dict().items()}, heads), heads


def _without_heads(shapes: Mapping[str, torch.Size], heads: tuple[str, ...]) -> dict[str, torch.Size]:
    """What is compared; PyTorch before 0.4.1 kept no count of batches."""
    return {
        key: it
        for key, it in shapes.items()
        if not key.startswith(heads) and not key.endswith("num_batches_tracked")
    }
