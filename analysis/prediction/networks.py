"""Which trained networks a command takes, and how it gets them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from analysis.runs.arguments import Key

if TYPE_CHECKING:
    import torch

    from analysis.prediction.calibration import Calibration
    from analysis.prediction.ensemble import Ensemble


@dataclass(frozen=True)
class NetworkChoice:
    """Keys of every command that takes trained networks: which, and how sure their probabilities are."""

    process: Annotated[
        str | None, Key("a learning process: all its networks on the whole training set as one", "NAME")
    ] = None
    run: Annotated[str | None, Key("runs by their ids instead, between commas", "ID,ID")] = None
    study: Annotated[
        str | None,
        Key("which study of the process; if left out, the one with more runs than any other", "ID"),
    ] = None
    calibration: Annotated[
        Literal["none", "temperature"], Key("temperature: probabilities as fitted on images not trained on")
    ] = "none"

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of `run`, none where it is left out."""
        return tuple(filter(None, (self.run or "").replace(" ", "").split(",")))


def networks_of(
    runs_dir: Path, choice: NetworkChoice, device: "torch.device"
) -> "tuple[Ensemble, Calibration | None]":
    """The networks, and how their probabilities were calibrated, where that was asked for.

    Raises:
        RelayError: as `chosen_runs`, `load_ensemble` and `calibrate`.
    """
    from analysis.prediction.calibration import calibrate
    from analysis.prediction.chosen import chosen_runs
    from analysis.prediction.ensemble import load_ensemble

    folders = chosen_runs(runs_dir, process=choice.process, runs=choice.runs, study=choice.study)
    ensemble = load_ensemble(folders, device)
    if choice.calibration == "none":
        return ensemble, None
    calibration = calibrate(folders)
    return replace(ensemble, temperature=calibration.temperature), calibration
