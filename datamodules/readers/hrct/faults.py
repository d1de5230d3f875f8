"""What becomes of a file, region or series that cannot be used?"""

from dataclasses import dataclass, field

from datamodules.faults import OnError, Problem
from stages.errors import RelayError


@dataclass
class Faults:
    """Collects what is wrong, so that one run names it all.

    Attributes:
        on_error: Whether a fault ends the work, in `settle`.
        problems: All that was found.
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
            f"{first.what} cannot be used: {first.why}.{rest} Mend it, or set on_error=skip to leave it out "
            "and have it listed."
        )
