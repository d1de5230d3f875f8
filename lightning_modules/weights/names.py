"""Which tensors of a checkpoint are a network's, whatever trainers and wrappers put before their names.

The network's own names decide, no list of prefixes: a prefix is taken if behind it stand all names that the
transfer rule keeps. Names of wrappers (`WRAPPERS`) may stand anywhere inside, as in
`features.module.0.weight`. If several prefixes have all of them, the one whose shapes fit is taken, and if
several still do: the first if their numbers are equal, else none, and the refusal says how to choose.

Only where no prefix does are names tried as `nn.Sequential(*network.children())` writes them, a number in the
place of each child's name (`backbone.4.0.conv1.weight`): all names and shapes must fit then.
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_modules.build import specification
from lightning_modules.layers import is_counter
from lightning_modules.misfit import hints
from lightning_modules.weights.entries import Checkpoint
from lightning_modules.weights.file import listed
from stages.errors import RelayError

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that DataParallel, averaging, torch.compile and FSDP add, where no layer has them."""

_LOSSES = frozenset({"criterion", "loss", "loss_fn", "loss_func", "loss_function", "n_averaged"})
_PRETRAINING = frozenset({"queue", "queue_ptr", "projection_head", "prototypes", "mask_token"}) | {
    f"decoder_{name}" for name in ("embed", "pos_embed", "blocks", "norm", "pred")
}
BESIDES = _LOSSES | _PRETRAINING
"""Modules and buffers that stand beside a network's layers and are none: losses, averaging, MoCo's queue,
SwAV's heads, the decoder of a masked autoencoder. Any other could be a part of another network."""


@dataclass(frozen=True)
class Weights:
    """What a network can be started from.

    Attributes:
        tensors: Name in the network -> tensor, on the CPU, in the file's order and dtype; more than the
            network's where the file has more under the same prefix. A batch normalisation's count of batches
            that the file lacks, or that is no whole number, is 0.
        prefix: What stood before the names, such as "state_dict.model."; "" for nothing.
        names: How names were read, by an example; "" if they are the network's.
        dropped: What else the file holds, tensors first; of several names that nothing taken shares the start
            with, that start.
    """

    tensors: dict[str, Tensor]
    prefix: str
    names: str
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    """Names behind one prefix: name in the network -> name in the file, part and all."""

    part: str
    prefix: str
    names: Mapping[str, str]

    @classmethod
    def behind(cls, part: str, prefix: str, names: Mapping[str, str]) -> "_Candidate":
        """What stands behind a prefix, of names as they are read -> as the part has them."""
        behind = {
            name.removeprefix(prefix): part + written
            for name, written in names.items()
            if name.startswith(prefix)
        }
        return cls(part, prefix, behind)

    def fits(self, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
        """Whether all wanted names are there, with their shapes."""
        return all(
            name in self.names and tensors[self.names[name]].shape == it.shape for name, it in wanted.items()
        )

    def label(self, wanted: Iterable[str]) -> str:
        """Part and prefix with the wrappers behind it, as they stand before the first name in the file."""
        for name in wanted:
            if name in self.names:
                full = self.names[name]
                pieces = full.split(".")
                for cut in range(len(pieces) - 1, -1, -1):
                    if _unwrapped(".".join(pieces[cut:])) == name:
                        return "".join(f"{piece}." for piece in pieces[:cut])
        return self.part + self.prefix


def find_weights(checkpoint: Checkpoint, wanted: Mapping[str, Tensor], network: nn.Module) -> Weights:
    """Find a network's tensors in a checkpoint.

    Args:
        checkpoint: The checkpoint.
        wanted: Name -> tensor of what must be found: the parameters and buffers that are kept.
        network: The network; all its names decide where none is kept.

    Raises:
        RelayError: Several parts of the checkpoint could be the network, fewer than half of the names are in
            any, or what was found is not finite numbers. Whether shapes fit is left to `apply_transfer`.
    """
    counters = {name: tensor for name, tensor in wanted.items() if is_counter(name)}
    wanted = {name: tensor for name, tensor in wanted.items() if name not in counters}
    names = list(wanted) or list(network.state_dict())
    candidates = list(_candidates(checkpoint, frozenset(names)))
    best = max((_found(each, names) for each in candidates), default=0)
    if best * 2 < len(names) and (numbered := list(_numbered(checkpoint, wanted, network))):
        candidates, best = numbered, len(names)
    if best * 2 < len(names):
        given = {_unwrapped(name): tensor for name, tensor in checkpoint.tensors.items()}
        raise RelayError(
            f"checkpoint {checkpoint.file} has {best} of the {len(names)} tensors that the network takes. "
            f"The network's are named {listed(names, 3)}; the file's {listed(list(checkpoint.tensors), 5)}. "
            + " ".join(hints(specification(network), given, wanted, checkpoint.architecture))
        )
    chosen = _only(checkpoint, [each for each in candidates if _found(each, names) == best], wanted)
    tensors = checkpoint.tensors
    taken = {
        name: full
        for name, full in chosen.names.items()
        if name in names or name.partition(".")[0] not in BESIDES
        if not (is_counter(name) and tensors[full].is_floating_point())
    }
    label = chosen.label(names)
    read = next((f"{taken[name]} is taken as {name}" for name in names if taken.get(name, name) != name), "")
    dropped = tuple(_left([*tensors, *checkpoint.others], set(taken.values())))
    checkpoint.checked({full: tensors[full] for full in taken.values()})
    started = {name: torch.zeros_like(it, device="cpu") for name, it in counters.items() if name not in taken}
    if started:
        read = "; ".join(filter(None, (read, f"{next(iter(started))} is not in it, and starts at 0")))
    found = {name: tensors[full].detach() for name, full in taken.items()}
    return Weights(found | started, label, read, dropped)


def _found(candidate: _Candidate, names: Iterable[str]) -> int:
    return sum(name in candidate.names for name in names)


def _candidates(checkpoint: Checkpoint, wanted: frozenset[str]) -> Iterator[_Candidate]:
    """Every prefix of every part behind which some wanted name stands, each set of names once."""
    seen = set()
    for part, tensors in checkpoint.parts.items():
        as_written = {name: name for name in tensors}
        unwrapped = {_unwrapped(name): name for name in tensors}
        for names in (as_written, unwrapped if len(unwrapped) == len(tensors) else {}):
            for prefix in _prefixes(names, wanted):
                candidate = _Candidate.behind(part, prefix, names)
                found = frozenset(candidate.names[name] for name in wanted & candidate.names.keys())
                if found not in seen:
                    seen.add(found)
                    yield candidate


def _numbered(
    checkpoint: Checkpoint, wanted: Mapping[str, Tensor], network: nn.Module
) -> Iterator[_Candidate]:
    """Candidates that have all of the wanted names and shapes once the first number is a child's place."""
    children = [name for name, _ in network.named_children()]
    for part, tensors in checkpoint.parts.items():
        names = {}
        for name in tensors:
            pieces = _unwrapped(name).split(".")
            at = next((place for place, piece in enumerate(pieces) if piece.isdecimal()), None)
            if at is not None and int(pieces[at]) < len(children):
                names[".".join([*pieces[:at], children[int(pieces[at])], *pieces[at + 1 :]])] = name
        for prefix in _prefixes(names, frozenset(wanted)):
            candidate = _Candidate.behind(part, prefix, names)
            if candidate.fits(checkpoint.tensors, wanted):
                yield candidate


def _prefixes(names: Iterable[str], wanted: frozenset[str]) -> list[str]:
    """What stands before a wanted name, most often first."""
    before: Counter[str] = Counter()
    for name in names:
        pieces = name.split(".")
        for cut in range(len(pieces)):
            if ".".join(pieces[cut:]) in wanted:
                before["".join(f"{piece}." for piece in pieces[:cut])] += 1
    return [prefix for prefix, _ in before.most_common()]


def _unwrapped(name: str) -> str:
    return ".".join(piece for piece in name.split(".") if piece not in WRAPPERS)


def _only(checkpoint: Checkpoint, candidates: list[_Candidate], wanted: Mapping[str, Tensor]) -> _Candidate:
    """The candidate to take; refuses if there are several with other numbers."""
    tensors = checkpoint.tensors
    fitting = [each for each in candidates if each.fits(tensors, wanted)]
    pool = fitting or candidates
    first = pool[0]
    others = [
        each
        for each in pool[1:]
        if not all(
            name in each.names
            and name in first.names
            and torch.equal(tensors[each.names[name]], tensors[first.names[name]])
            for name in wanted
        )
    ]
    if not others:
        return first
    labels = [each.label(wanted) or "." for each in (first, *others)]
    file = shlex.quote(str(checkpoint.file))
    raise RelayError(
        f"checkpoint {checkpoint.file} holds the network {len(labels)} times with other numbers: under "
        f"{' and '.join(f'`{label}`' for label in labels)}. Write the one that you mean into a file of its "
        "own, and start from that:"
        + "".join(
            f"\n  python -m lightning_modules.weights file={file} part={shlex.quote(label)} "
            "out=weights.safetensors"
            for label in labels
        )
    )


def _left(names: Iterable[str], taken: set[str]) -> Iterator[str]:
    """Names that were not taken; in place of several the start that they share and no taken one has."""
    starts = {name[:place] for name in taken for place, sign in enumerate(name) if sign == "."} | taken
    groups: dict[str, list[str]] = {}
    for name in names:
        if name not in taken:
            pieces = name.split(".")
            ends = (".".join(pieces[:cut]) for cut in range(1, len(pieces) + 1))
            groups.setdefault(next((end for end in ends if end not in starts), name), []).append(name)
    for start, members in groups.items():
        yield start if len(members) > 1 else members[0]
