"""What is wrong in a store, where, and what to do about it."""

from dataclasses import dataclass
from pathlib import Path

from stages.record import NEWER, REMEDY
from stages.store import RunFolder


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        run: STAGE/ID of the run that it is about; None where it is about no run.
        file: the file or folder, below the store.
        problem: what is wrong.
        remedy: what to do.
    """

    run: str | None
    file: str
    problem: str
    remedy: str

    @classmethod
    def of(cls, run: RunFolder, file: Path, problem: str, remedy: str = REMEDY) -> "Finding":
        """A finding about a file of a run; a remedy at the end of the problem is taken off."""
        name = f"{run.path.parent.name}/{run.path.name}"
        where = name if file == run.path else f"{name}/{file.name}"
        if problem.endswith(f"; {NEWER}"):
            remedy = NEWER
        return cls(name, where, problem.removesuffix(f"; {REMEDY}").removesuffix(f"; {NEWER}"), remedy)
