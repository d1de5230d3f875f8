"""Networks without training: each class stands for a grey level, and networks differ in which."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from analysis.prediction.ensemble import Ensemble, Member
from datamodules.batches.preprocess import Preprocess
from stages.record import AcquisitionRecord, InputRecord, Record
from stages.store import RunFolder
from tests.helpers.stage_helpers import recipe, record_content


@dataclass(frozen=True)
class FakeEnsemble(Ensemble):
    """An ensemble of so many networks."""

    networks: int = 3

    def logits(self, pixels: Tensor, batch_size: int = 256) -> Tensor:
        """As `Ensemble.logits`; an image's answer does not depend on its batch."""
        grey = pixels.double().flatten(1) / 255
        wanted = torch.linspace(0.2, 0.9, len(self.classes), dtype=torch.float64)
        own = torch.linspace(0, 0.2, self.networks, dtype=torch.float64)  # networks differ in what they want
        logits = -12 * (grey.mean(1)[None, :, None] - wanted - own[:, None, None]) ** 2
        return (logits + 3 * grey.std(1)[None, :, None] * wanted).float()


def fake_ensemble(
    classes: tuple[str, ...] = ("EMP", "GGO", "NOR"),
    shape: tuple[int, int] = (16, 16),
    *,
    networks: int = 3,
    window: list[float] | None = [-1000.0, 400.0],  # noqa: B006  # never changed
    spacing_mm: float | None = None,
    color: bool = False,
) -> FakeEnsemble:
    """Networks for patches of `shape`, of a set with pixels of `spacing_mm`."""
    acquisition = (
        None
        if spacing_mm is None
        else AcquisitionRecord(spacing_mm=[spacing_mm] * 3, thickness_mm=None, kernels={})
    )
    given = InputRecord(
        mean=[0.4] * 3, std=[0.2] * 3, color=color, window=window, decode_size=None, precision="32-true",
        memory_format="contiguous", acquisition=acquisition,
    )  # fmt: skip
    return FakeEnsemble((), classes, shape, given, torch.device("cpu"), networks=networks)


def fake_members(classes: tuple[str, ...], count: int, learning: bool = True) -> tuple[Member, ...]:
    """Of so many runs that were never trained, one for each seed."""
    members = []
    for seed in range(count):
        content = record_content(recipe(seed=seed))
        counts = list(range(3, 3 + len(classes)))
        content["data"] |= {
            "classes": list(classes), "train_counts": counts, "val_counts": counts, "grouped": True,
            "train_groups": 12, "train_class_groups": counts, "val_class_groups": counts,
        }  # fmt: skip
        content["plateau"]["learning"] = learning
        content["confusion_matrix"] = np.diag(counts).tolist()
        content["files"] = {"model.ckpt": f"{seed:064x}"}
        record = Record.model_validate(content)
        assert record.input is not None
        folder = RunFolder(Path("runs/dld") / record.id[:12])
        preprocess = Preprocess(32, record.input.mean, record.input.std)
        members.append(Member(folder, record, record.input, nn.Identity(), preprocess, "32-true"))
    return tuple(members)
