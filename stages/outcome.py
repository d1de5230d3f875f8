"""How a stage run ended. Jobs return their failure as a value, so that others continue."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["trained", "complete", "failed", "blocked"]


@dataclass(frozen=True)
class Outcome:
    """How a stage run ended.

    Attributes:
        id: full id.
        status: `trained` now, `complete` before, `failed`, or `blocked` by a failed parent.
        message: one line on why it failed or was blocked; empty otherwise.
    """

    id: str
    status: Status
    message: str = ""
