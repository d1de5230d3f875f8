"""Trained networks as one: what each of them, and all together, say of images."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from analysis.explain.stored_network import load_network
from datamodules.batches.preprocess import Preprocess
from lightning_modules.hardware import native_bfloat16
from lightning_modules.lean import lean_network
from stages.errors import RelayError
from stages.record import InputRecord, Record
from stages.store import RunFolder


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes:
        folder: of its stage run.
        record: of its stage run.
        input: what its input is made of.
        network: in evaluation mode, on its device; its weights are those that the record names.
        preprocess: what training did with decoded pixels: its own mean and deviation; the channels of grey
            images are shared.
        precision: how it rounds here; float32, unless `Ensemble.as_trained` made it.
    """

    folder: RunFolder
    record: Record
    input: InputRecord
    network: nn.Module
    preprocess: Preprocess
    precision: str = "32-true"

    @property
    def name(self) -> str:
        """The run's name in messages: STAGE/ID."""
        return f"{self.folder.path.parent.name}/{self.folder.path.name}"

    def logits(self, ready: Tensor) -> Tensor:
        """What the network says of prepared images, as it rounds here: (N, C)."""
        logits: Tensor
        if self.precision == "32-true":
            logits = self._lean(ready)
            return logits
        # As in training to the bit: with fewer operations, others would round to bfloat16.
        with self.arithmetic(ready.device):
            logits = self.network(ready.contiguous(memory_format=self.preprocess.memory_format))
        return logits.float()

    @cached_property
    def _lean(self) -> nn.Module:
        return lean_network(self.network, self.preprocess.size)

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """Rounding as in training, for a `with` block."""
        kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        if self.precision not in kinds:
            return nullcontext()
        return torch.autocast(device.type, dtype=kinds[self.precision])


@dataclass(frozen=True)
class Ensemble:
    """Networks that answer together.

    Attributes:
        members: the networks, at least one.
        classes: of the records, in their order; all members agree.
        shape: (H, W) of the training images in pixels, before they are resized for the network.
        input: what all members share of it; mean, deviation, precision and acquisition are the first one's.
        device: where the networks are.
        temperature: logits are divided by it.
    """

    members: tuple[Member, ...]
    classes: tuple[str, ...]
    shape: tuple[int, int]
    input: InputRecord
    device: torch.device
    temperature: float = 1.0

    def logits(self, pixels: Tensor, batch_size: int = 256) -> Tensor:
        """What each network says of images.

        Args:
            pixels: uint8, (N, H, W), or (N, H, W, 3) in colour: as training saw them after decoding.
            batch_size: images at once on the device; memory is of as many, whatever N.

        Returns:
            float32, (M, N, C) for M networks and C classes, on the CPU.
        """
        found = torch.empty((len(self.members), len(pixels), len(self.classes)))
        for start in range(0, len(pixels), batch_size):
            part = slice(start, start + batch_size)
            for place, of_member in enumerate(self._logits_of_batch(pixels[part])):
                found[place, part] = of_member
        return found

    def probabilities(self, pixels: Tensor, batch_size: int = 256) -> Tensor:
        """As `logits`, but probabilities: the softmax of logits / temperature, float32, (M, N, C)."""
        return (self.logits(pixels, batch_size) / self.temperature).softmax(dim=2)

    def _logits_of_batch(self, pixels: Tensor) -> Iterator[Tensor]:
        """(N, C) of each network; inputs that several share are made once."""
        pixels, made_by, ready = pixels.to(self.device), None, pixels
        with torch.inference_mode():
            for member in self.members:
                if made_by is not member.preprocess:
                    made_by, ready = member.preprocess, member.preprocess(pixels)
                yield member.logits(ready).cpu()

    @property
    def as_trained(self) -> "Ensemble":
        """The same networks, rounding as in their training where the device does that itself."""
        members = (
            replace(each, precision=_precision(each.input.precision, self.device)) for each in self.members
        )
        return replace(self, members=tuple(members))

    @property
    def notes(self) -> list[str]:
        """What is odd of networks that answer together, a line each."""
        sets = {member.record.data.content or member.record.data.digest for member in self.members}
        if len(sets) == 1:
            return []
        return [f"the networks were trained on {len(sets)} different sets of images"]


def load_ensemble(folders: Sequence[RunFolder], device: torch.device) -> Ensemble:
    """Load the networks of stage runs; no configuration and no training image is needed.

    Args:
        folders: of complete stage runs.
        device: where they shall compute.

    Returns:
        Networks that compute in float32 whatever they were trained in: the same on every device, and what
        `analysis.export` writes.

    Raises:
        RelayError: if a run has no weights, or other weights than its record names, or was trained before
            records kept the scaling; or if the networks have other classes, sizes or ways of reading images
            than the first. Names the run.
    """
    if not folders:
        raise RelayError("no run was chosen; name a process or runs")
    read = [(folder, folder.read_record()) for folder in folders]
    described = [(folder, record, _input(folder, record)) for folder, record in read]
    _check_alike(described)
    made: dict[tuple[object, ...], Preprocess] = {}
    members = []
    for folder, record, given in described:
        layout = torch.channels_last if given.memory_format == "channels_last" else torch.contiguous_format
        key = (record.data.image_size, *given.mean, *given.std, layout)
        if key not in made:
            made[key] = Preprocess(
                record.data.image_size, given.mean, given.std, memory_format=layout, shared=True
            )
        network = load_network(folder.path)
        network = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs
        members.append(Member(folder, record, given, network, made[key]))
    data = members[0].record.data
    return Ensemble(tuple(members), tuple(data.classes), (data.height, data.width), members[0].input, device)


def _precision(trained: str, device: torch.device) -> str:
    """The training's, where the device rounds so itself: emulated it is slow, and float32 is not worse."""
    if trained == "bf16-mixed" and native_bfloat16(device.type):
        return trained
    return trained if trained == "16-mixed" and device.type == "cuda" else "32-true"


def _input(folder: RunFolder, record: Record) -> InputRecord:
    """What a network's input is made of.

    Raises:
        RelayError: if its record was written before records said it.
    """
    if record.input is None:
        raise RelayError(
            f"{folder.record} does not say what the network's input is made of (scaling, window, colour, "
            "decode_size): the run was trained before Relay kept it. Train it again with the same command in "
            "another store (paths.runs_dir=...)"
        )
    return record.input


def _check_alike(members: Sequence[tuple[RunFolder, Record, InputRecord]]) -> None:
    """Refuse networks that cannot answer together."""
    (first, record, given), *others = members
    wanted = _shared(record, given)
    for folder, other, its in others:
        for what, value in _shared(other, its).items():
            if value != wanted[what]:
                raise RelayError(
                    f"networks of one ensemble must have the same {what}: {folder.path} has {value}, "
                    f"{first.path} has {wanted[what]}. Name runs that belong together, run=ID,ID"
                )


def _shared(record: Record, given: InputRecord) -> dict[str, object]:
    """What networks of one ensemble must share."""
    data = record.data
    return {
        "classes": data.classes,
        "size of their training images": f"{data.width} x {data.height} px",
        "window": given.window,
        "colour": "colour" if given.color else "grey",
        "decode_size": given.decode_size,
    }
