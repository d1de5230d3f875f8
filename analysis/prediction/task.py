"""What a branch of `predict.py` is given: the arguments, the networks, and what the source is."""

from dataclasses import dataclass

from analysis.prediction.arguments import Arguments
from analysis.prediction.calibration import Calibration
from analysis.prediction.ensemble import Ensemble
from analysis.prediction.sources import Source


@dataclass(frozen=True)
class Task:
    """What is to be done.

    Attributes:
        arguments: as typed.
        ensemble: the networks, with their temperature.
        source: what they are applied to.
        calibration: how the temperature was found; None without one.
    """

    arguments: Arguments
    ensemble: Ensemble
    source: Source
    calibration: Calibration | None
