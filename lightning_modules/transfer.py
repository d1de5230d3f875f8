"""Starting a network from a parent's weights by a transfer rule.

Every parameter and every persistent buffer of the network is accounted for, and every key of the checkpoint
either goes into the network, is named by the rule, or is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.build import specification
from lightning_modules.initialisation import initialise_layers
from lightning_modules.layers import layer_modules, layer_parameters
from lightning_modules.misfit import hints
from lightning_modules.transfer_rule import TransferRule
from stages.errors import RelayError

_LISTED = 5
"""Keys of each kind that a refusal lists."""


@dataclass(frozen=True)
class TransferReport:
    """Where each parameter of a network came from. Names are those of the network's state dict, in its order.

    `kept` and `reinitialised` together are all parameters, each once.

    Attributes:
        rule: Name of the transfer rule; "none" where nothing was transferred.
        source: What the weights were read from, for a person to read; None where nothing was transferred.
        kept: Parameters copied from the source.
        reinitialised: Parameters with fresh weights.
        frozen: The part of `kept` that is not trained.
        ignored: Keys of the source that the rule names and that were not used, sorted.
        kept_buffers: Persistent buffers copied from the source (running statistics of a batch normalisation).
        reinitialised_buffers: Persistent buffers left as a new network has them.
        rounded: The part of `kept` and `kept_buffers` whose numbers the network's dtype cannot hold exactly
            (float64 read into float32). All others have the source's numbers exactly.
        names: How the names of a user's checkpoint were read, by an example; "" if they are the network's.
        dropped: What else such a checkpoint holds; see `lightning_modules.weights.Weights`.
    """

    rule: str
    source: str | None
    kept: tuple[str, ...]
    reinitialised: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    kept_buffers: tuple[str, ...] = ()
    reinitialised_buffers: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    names: str = ""
    dropped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ledger = self.kept + self.reinitialised + self.kept_buffers + self.reinitialised_buffers
        twice = {name for name in ledger if ledger.count(name) > 1}
        stray = ({*self.frozen} - {*self.kept}) | ({*self.rounded} - {*self.kept, *self.kept_buffers})
        if twice or stray:
            raise RelayError(f"transfer report contradicts itself: {', '.join(sorted(twice | stray))}")

    def as_dict(self) -> dict[str, str | list[str] | None]:
        """The report as JSON has it: field -> string, list of strings or null."""
        return {key: list(it) if isinstance(it, tuple) else it for key, it in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TransferReport:
        """The report that `as_dict` gave."""
        fields: dict[str, Any] = {
            key: tuple(it) if isinstance(it, list) else it for key, it in content.items()
        }
        return cls(**fields)


def apply_transfer(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    rule: TransferRule,
    *,
    scheme: str,
    seed: int,
    source: str,
    file: str | None = None,
) -> TransferReport:
    """Start a network from a parent's weights.

    Kept layers are copied, parameters and persistent buffers: the parent's numbers exactly, but where the
    network's dtype cannot hold them (float64 into float32), which the report names. Re-initialised layers are
    what a new network of this `scheme` and `seed` has. Afterwards all parameters but the frozen ones require
    gradients. On an error the network is as it was.

    Args:
        network: The network to start; its class count may differ from the parent's.
        weights: Name in the network -> tensor, as `lightning_modules.weights` returns.
        rule: See `transfer_rule.transfer_rule`.
        scheme: The initialisation of re-initialised layers, see `initialisation`.
        seed: The seed of that initialisation.
        source: What the weights were read from, for the report.
        file: Their file, for error messages; `source` if None.

    Returns:
        Where every parameter came from.

    Raises:
        RelayError: The rule names a layer that the network lacks, or a key outside the re-initialised layers
            is missing, unexpected, of another shape or kind of number, or has other numbers than the same
            tensor under another name. The message lists some of each, and how many there are.
    """
    owners = _owners(network)
    lacking = [layer for layer in rule.reinitialised + rule.frozen if layer not in owners.values()]
    if lacking:
        raise RelayError(
            f"transfer rule '{rule.name}' names {', '.join(lacking)}, but the network has only "
            f"{', '.join(dict.fromkeys(owners.values()))}; choose another rule or network"
        )
    state = network.state_dict(keep_vars=True)
    wanted = kept_tensors(network, rule)
    kept = list(wanted)
    fresh = [key for key, layer in owners.items() if layer in rule.reinitialised]
    modules = layer_modules(network)
    whole = {layer.name for layer in specification(network).layers if not layer.own}
    renewed = {id(modules[layer]) for layer in rule.reinitialised if layer in whole}
    inside = tuple(f"{path}." for path, module in network.named_modules() if id(module) in renewed)
    ignored = {key for key in weights if key in fresh or (key not in state and key.startswith(inside))}
    used = _under_all_names({key: weights[key] for key in weights if key not in ignored}, wanted)
    problems, rounded = _compare(used, wanted)
    if problems:
        listed = "\n  ".join(_some(problems))
        why = hints(specification(network), weights, wanted) or [
            "Is it a checkpoint of another architecture (another `model`, other channels)? Does it hold "
            "more or less than the network's state dict?"
        ]
        raise RelayError(
            f"{file or source} does not fit the network by transfer rule '{rule.name}', which re-initialises "
            f"{', '.join(rule.reinitialised) or 'no layer'}:\n  {listed}\n" + "\n".join(why)
        )
    initialise_layers(network, rule.reinitialised, scheme, seed)  # first: it refuses an unknown scheme
    with torch.no_grad():
        for key, tensor in wanted.items():
            tensor.copy_(used[key])

    parameters = dict(network.named_parameters(remove_duplicate=False))
    kept_parameters = tuple(key for key in kept if key in parameters)
    report = TransferReport(
        rule=rule.name,
        source=source,
        kept=kept_parameters,
        reinitialised=tuple(key for key in fresh if key in parameters),
        frozen=tuple(key for key in kept_parameters if owners[key] in rule.frozen),
        ignored=tuple(sorted(ignored)),
        kept_buffers=tuple(key for key in kept if key not in parameters),
        reinitialised_buffers=tuple(key for key in fresh if key not in parameters),
        rounded=tuple(key for key in kept if key in rounded),
    )
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    freeze(network, report)
    return report


def kept_tensors(network: nn.Module, rule: TransferRule) -> dict[str, Tensor]:
    """Name -> parameter or persistent buffer of the layers that a rule keeps, in the state dict's order."""
    owners = _owners(network)
    state = network.state_dict(keep_vars=True)
    return {key: state[key] for key, layer in owners.items() if layer not in rule.reinitialised}


def scratch_report(network: nn.Module) -> TransferReport:
    """The report of a network that starts from no parent: rule "none", every parameter initialised.

    Raises:
        RelayError: A parameter or persistent buffer of the network belongs to none of its layers.
    """
    owners = _owners(network)
    parameters = dict(network.named_parameters(remove_duplicate=False))
    return TransferReport(
        rule="none",
        source=None,
        kept=(),
        reinitialised=tuple(key for key in owners if key in parameters),
        reinitialised_buffers=tuple(key for key in owners if key not in parameters),
    )


def freeze(network: nn.Module, report_or_names: TransferReport | Iterable[str]) -> None:
    """Leave parameters out of training; called again on a resumed network. Freezing twice is freezing once.

    Their gradients are dropped too: an optimiser steps what has a gradient, and weight decay and momentum
    would move a frozen parameter with a gradient left over.

    Args:
        network: The network the report is about.
        report_or_names: A report, of which `frozen` is taken, or parameter names.

    Raises:
        RelayError: A name is not a parameter of the network; nothing is frozen then.
    """
    names = report_or_names.frozen if isinstance(report_or_names, TransferReport) else tuple(report_or_names)
    parameters = dict(network.named_parameters(remove_duplicate=False))
    unknown = sorted(set(names) - set(parameters))
    if unknown:
        raise RelayError(f"cannot freeze {', '.join(unknown)}: the network has no such parameters")
    for name in names:
        parameters[name].requires_grad_(False)
        parameters[name].grad = None


def set_train_mode(network: nn.Module, report: TransferReport) -> None:
    """`network.train()`, but every module all of whose parameters are frozen is in evaluation mode.

    A frozen batch normalisation must not gather new running statistics, nor a frozen block drop activations:
    what the frozen part computes would change although its parameters do not. Dropout outside of such
    modules regularises what is trained and stays on.
    """
    network.train()
    frozen = set(report.frozen)
    for prefix, module in network.named_modules():
        names = {
            f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters(remove_duplicate=False)
        }
        if names and names <= frozen:
            module.eval()


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters for an optimiser: those that require gradients, in the order they were registered.

    Raises:
        RelayError: There is none.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise RelayError("every parameter of the network is frozen; choose a transfer rule that trains some")
    return parameters


def _owners(network: nn.Module) -> dict[str, str]:
    """Key of the state dict -> its layer, for every parameter and persistent buffer, in that order."""
    layers = {key: layer for layer, keys in layer_parameters(network).items() for key in keys}
    return {key: layers[key] for key in network.state_dict(keep_vars=True)}


def _under_all_names(used: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is given, also under the names that a tensor has beside the one that it was saved under."""
    given = {id(wanted[key]): tensor for key, tensor in used.items() if key in wanted}
    others = {key: given[id(it)] for key, it in wanted.items() if key not in used and id(it) in given}
    return used | others


def _some(problems: Sequence[str]) -> Iterator[str]:
    """The first few of each kind, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(problem.partition(":")[0], []).append(problem)
    for kind, lines in kinds.items():
        yield from lines[:_LISTED]
        if len(lines) > _LISTED:
            yield f"{kind}: {len(lines) - _LISTED} more"


def _compare(used: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[list[str], set[str]]:
    """What keeps the checkpoint's tensors from being the network's, and the keys that get rounded."""
    problems = [f"missing: {key} {tuple(wanted[key].shape)}" for key in sorted(wanted.keys() - used.keys())]
    problems += [f"unexpected: {key} {tuple(used[key].shape)}" for key in sorted(used.keys() - wanted.keys())]
    rounded, first = set[str](), dict[int, str]()
    for key in sorted(used.keys() & wanted.keys()):
        given, goal = used[key], wanted[key]
        cast = given.to(goal.dtype)
        same = first.setdefault(id(goal), key)
        if same != key and not torch.equal(cast, used[same].to(goal.dtype)):
            problems.append(f"other numbers: {key} and {same}, which are one tensor of the network")
        if given.shape != goal.shape:
            problems.append(f"other shape: {key} {tuple(given.shape)} given, {tuple(goal.shape)} wanted")
        elif given.dtype == goal.dtype:
            continue
        elif not (given.is_floating_point() and goal.is_floating_point()):
            problems.append(f"other type: {key} {given.dtype} given, {goal.dtype} wanted")
        elif bool(torch.isinf(cast).any()):
            problems.append(f"out of range: {key} {given.dtype} given, too large for {goal.dtype}")
        elif not torch.equal(cast.to(given.dtype), given):
            rounded.add(key)
    return problems, rounded
