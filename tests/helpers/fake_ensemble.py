"""Networks without training: each class stands for a grey level, and networks differ in which."""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.prediction.ensemble import Ensemble
from stages.record import AcquisitionRecord, InputRecord


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
