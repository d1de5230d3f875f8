"""A transfer rule: which layers start with fresh weights, which are frozen; all others are kept and trained.

Rules are files, `conf/transfer/NAME.yaml`. Paper, section 4.1: the feature extractor is kept, Fc7 and Fc8 are
"cut off from their connections" and randomly initialised, and the whole network is trained again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_modules.specification import Specification
from stages.errors import RelayError, unknown_name
from stages.recipe import RANGE


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
        reinitialise: Names of layers, and ranges FIRST-LAST of layers in the network's order, both ends
            included. A layer may be named more than once.
        freeze: The same.
        network: Whose layers these are.

    Returns:
        The rule with each layer named once, in the network's order.

    Raises:
        RelayError: The network has no such layer, a range is the wrong way round, a layer is both
            re-initialised and frozen, or every layer is frozen.
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
    """The layers that names and ranges stand for, in the network's order."""
    names = network.layer_names
    chosen: set[str] = set()
    for pattern in patterns:
        first, is_range, last = pattern.partition(RANGE)
        for end, name in (("first", first), ("last", last)) if is_range else (("", first),):
            if name not in names:
                raise unknown_name(f"the {end} layer of {pattern!r} in {key}" if end else key, name, names)
        low, high = names.index(first), names.index(last if is_range else first)
        if low > high:
            raise RelayError(
                f"{key} is {pattern!r}; in {network.name} {last} comes before {first}: write {last}-{first}"
            )
        chosen.update(names[low : high + 1])
    return tuple(name for name in names if name in chosen)
