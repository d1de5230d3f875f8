"""What becomes of a file that cannot be used: it ends the work, or it is left out and listed."""

from dataclasses import dataclass, field
from typing import Literal

from stages.errors import RelayError

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


@dataclass
class Faults:
    """Collects what cannot be used, so that one run names it all.

    Attributes:
        on_error: Whether a fault ends the work, in `settle`.
        problems: All that was found, in order.
    """

    on_error: OnError
    problems: list[Problem] = field(default_factory=list)
    _grave: list[Problem] = field(default_factory=list)

    def add(self, what: str, why: object) -> None:
        """Something that is wrong."""
        problem = Problem(what, str(why))
        self._grave.append(problem)
        self.problems.append(problem)

    def left_out(self, what: str, why: str) -> None:
        """Something that is left out without being wrong; it never ends the work."""
        self.problems.append(Problem(what, why))

    def settle(self) -> None:
        """End the work if something is wrong and `on_error` is `raise`.

        Raises:
            RelayError: Names the first fault, and how many more there are.
        """
        if self.on_error == "skip" or not self._grave:
            return
        first, more = self._grave[0], len(self._grave) - 1
        rest = f" {more} more cannot be used either." if more else ""
        raise RelayError(
            f"{first.what}: {first.why}.{rest} Fix it, or set on_error=skip to leave it out "
            "and have it listed."
        )
