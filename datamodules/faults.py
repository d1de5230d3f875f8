"""What becomes of a file that cannot be used: it ends the work, or it is left out and listed."""

from dataclasses import dataclass
from typing import Literal

OnError = Literal["raise", "skip"]
"""Whether a file that cannot be used ends the preparation, or is left out and listed in the summary."""


class UnusableError(Exception):
    """Why something cannot be used; the text holds no path, and nothing that identifies a patient."""


@dataclass(frozen=True)
class Problem:
    """Something that was left out.

    Attributes:
        what: Which item, so that the user can find it (a place in the listing, a class, a slice's number),
            without a patient's name or id.
        why: What is wrong with it.
    """

    what: str
    why: str
