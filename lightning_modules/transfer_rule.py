"""A transfer rule: which layers start with fresh weights, which are frozen; all others are kept and trained.

Rules are files, `conf/transfer/NAME.yaml`. Paper, section 4.1: the feature extractor is kept, Fc7 and Fc8 are
"cut off from their connections" and randomly initialised, and the whole network is trained again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from lightning_modules.specification import Specification
from stages.errors import RelayError, unknown_name
from stages.recipe import RANGE

_LISTED = 40
"""Names that an error lists; of more it offers near ones."""


@dataclass(frozen=True)
class TransferRule:
    """What is done with each layer of a network that starts from a parent's weights.

    Attributes:
        name: As typed in the configuration and stored in the record.
        reinitialised: Layers that start with fresh weights. All others keep the parent's.
        frozen: Layers that keep the parent's weights and are not trained.
    """

    name: str
    reinitialised: tuple[str, ...]
    frozen: tuple[str, ...] = ()


def transfer_rule(
    name: str, reinitialise: Sequence[str], freeze: Sequence[str], network: Specification
) -> TransferRule:
    """A rule as it is written, for one network.

    Args:
        name: The rule's name.
        reinitialise: Names of layers; starts of names, such as layer1 for layer1.0 and layer1.1; ranges
            FIRST-LAST of either in the network's order, both ends included; and words, which come first (see
            `Specification.words`). A layer may be named more than once.
        freeze: The same.
        network: Whose layers these are.

    Returns:
        The rule with each layer named once, in the network's order.

    Raises:
        RelayError: The network has no such layer, a word means nothing in it, a range is the wrong way
            round, a layer is both re-initialised and frozen, or every layer is frozen.
    """
    fresh = _layers(f"transfer.reinitialise of the rule {name}", reinitialise, network)
    frozen = _layers(f"transfer.freeze of the rule {name}", freeze, network)
    both = [layer for layer in frozen if layer in fresh]
    if both:
        raise RelayError(
            f"transfer rule {name}: {', '.join(both)} in both transfer.reinitialise and transfer.freeze; a "
            "layer with fresh weights must be trained, so take it out of one of them"
        )
    if len(frozen) == len(network.layers):
        raise RelayError(
            f"transfer rule {name}: transfer.freeze is {', '.join(freeze)}, which is every layer of "
            f"{network.name}; leave at least one to be trained"
        )
    return TransferRule(name, fresh, frozen)


def _layers(key: str, patterns: Sequence[str], network: Specification) -> tuple[str, ...]:
    """The layers that names, words and ranges stand for, in the network's order."""
    chosen = {layer for pattern in patterns for layer in _named(key, pattern, network)}
    return tuple(name for name in network.layer_names if name in chosen)


def _named(key: str, pattern: str, network: Specification) -> Sequence[str]:
    names = network.layer_names
    if RANGE not in pattern:
        if pattern in network.undefined:
            raise RelayError(f"{key} is {pattern}, but of {network.name}: {network.undefined[pattern]}")
        return network.words[pattern] if pattern in network.words else _below(key, pattern, network)
    ends = pattern.split(RANGE)
    if len(ends) != 2 or not all(ends):
        raise RelayError(
            f"{key} is {pattern!r}; a range is FIRST{RANGE}LAST, the names of two layers of {network.name}"
        )
    first, last = (
        _below(f"the {end} layer of {pattern!r} in {key}", name, network)
        for end, name in zip(("first", "last"), ends, strict=True)
    )
    low, high = names.index(first[0]), names.index(last[-1])
    if low > high:
        raise RelayError(
            f"{key} is {pattern!r}; in {network.name} {ends[1]} comes before {ends[0]}: write "
            f"{ends[1]}{RANGE}{ends[0]}"
        )
    return names[low : high + 1]


def _below(key: str, name: str, network: Specification) -> Sequence[str]:
    """The layer of a name, or those whose names begin with it, in the network's order."""
    names = network.layer_names
    found = (name,) if name in names else tuple(each for each in names if each.startswith(f"{name}."))
    if found:
        return found
    pieces = [each.split(".") for each in names]
    starts = [".".join(parts[:end]) for parts in pieces for end in range(1, len(parts))]
    known = list(dict.fromkeys((*names, *starts, *network.words)))
    if len(known) <= _LISTED:
        raise unknown_name(key, name, known)
    near = get_close_matches(name, known, n=5)
    offer = f"did you mean {' or '.join(near)}? The" if near else "the"
    short = dict.fromkeys(parts[0] for parts in pieces)
    raise RelayError(
        f"{key} is {name!r}; {offer} layers of {network.name} begin with {', '.join(short)}, and the words "
        f"are {', '.join(network.words)}"
    )
