"""What becomes of a file that cannot be used: it ends the work, or it is left out and listed."""

from collections import Counter
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
        litter: How much of each kind was passed over, see `datamodules.files.litter`.
    """

    on_error: OnError
    problems: list[Problem] = field(default_factory=list)
    litter: Counter[str] = field(default_factory=Counter)
    _grave: list[Problem] = field(default_factory=list)

    def add(self, what: str, why: object) -> None:
        """Something that is wrong."""
        problem = Problem(what, str(why))
        self._grave.append(problem)
        self.problems.append(problem)

    def left_out(self, what: str, why: str) -> None:
        """Something that is left out without being wrong; it never ends the work."""
        self.problems.append(Problem(what, why))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over as litter, by kind, for the set's notes."""
        listed = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.litter.items()))
        return (f"Passed over as litter: {listed}.",) if listed else ()

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
