"""Rows of predictions.csv as they are found: what is done outlives Ctrl-C, a kill and a full disk.

Rows are appended to files in the work folder; after each batch a small file says how long these were then.
What a killed process wrote behind that is cut off by the next.
"""

import csv
import heapq
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from analysis.prediction.out import Out
from stages.machine.atomic import sync_folder, write_text
from stages.machine.cells import neutral

PREDICTIONS, SKIPPED = "predictions.csv", "skipped.csv"
SHOWN = 24
"""Pictures of the contact sheet that are most certain, and as many least."""

_STATE = "progress.json"

Certainty = tuple[float, int, int]
"""The probability of a picture's class, its place in the listing, and the class."""


@dataclass
class Progress:
    """What was found so far.

    Attributes:
        out: where it is written.
        done: pictures that were looked at, in the order of the listing.
        classes: how many were said to be of each class.
        most, least: the pictures that networks are most and least sure of, from the outer end.
        skipped: how many could not be used.
        remarks: what a person should know -> of how many pictures.
        lengths: bytes of the two files so far.
    """

    out: Out
    done: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    most: list[Certainty] = field(default_factory=list)
    least: list[Certainty] = field(default_factory=list)
    skipped: int = 0
    remarks: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, int] = field(default_factory=dict)

    @classmethod
    def resumed(cls, out: Out, header: Sequence[str], skipped: Iterable[tuple[str, str]]) -> "Progress":
        """What an earlier start left, or a beginning.

        Args:
            out: the folder.
            header: columns of predictions.csv.
            skipped: what is skipped before the first picture is read.
        """
        try:
            state = json.loads((out.work / _STATE).read_text())
            found = cls(
                out,
                state["done"],
                Counter(state["classes"]),
                [(each[0], each[1], each[2]) for each in state["most"]],
                [(each[0], each[1], each[2]) for each in state["least"]],
                state["skipped"],
                Counter(state["remarks"]),
                state["lengths"],
            )
            for name, length in found.lengths.items():
                with open(out.work / name, "rb+") as file:
                    if file.seek(0, os.SEEK_END) < length:
                        raise ValueError("it is shorter than it was")
                    file.truncate(length)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            for name in (PREDICTIONS, SKIPPED):
                (out.work / name).unlink(missing_ok=True)
            found = cls(out)
            found._append(PREDICTIONS, [header])
            found._append(SKIPPED, [("path", "why")])
            found._skip(skipped)
            found._keep()
        return found

    def add(
        self,
        rows: Sequence[Sequence[str]],
        certain: Iterable[Certainty],
        skipped: Iterable[tuple[str, str]],
        remarks: Counter[str],
        done: int,
    ) -> None:
        """A batch: what was found is on the disk when this returns.

        Args:
            rows: of predictions.csv, the class in the second column.
            certain: how sure the networks are of each.
            skipped: pictures that could not be used, and why.
            remarks: see `Progress`.
            done: pictures that have been looked at now.
        """
        certain = list(certain)
        self._append(PREDICTIONS, rows)
        self._skip(skipped)
        self.classes.update(row[1] for row in rows)
        self.most = heapq.nlargest(SHOWN, self.most + certain, key=lambda each: (each[0], -each[1]))
        self.least = heapq.nsmallest(SHOWN, self.least + certain)
        self.remarks += remarks
        self.done = done
        self._keep()

    def finish(self) -> None:
        """Put the files where they belong; skipped.csv only if there is anything in it."""
        os.replace(self.out.work / PREDICTIONS, self.out.folder / PREDICTIONS)
        if self.skipped:
            os.replace(self.out.work / SKIPPED, self.out.folder / SKIPPED)
        sync_folder(self.out.folder)

    def _skip(self, skipped: Iterable[tuple[str, str]]) -> None:
        rows = list(skipped)
        self._append(SKIPPED, rows)
        self.skipped += len(rows)

    def _append(self, name: str, rows: Iterable[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([neutral(cell) for cell in row] for row in rows)
        with open(self.out.work / name, "ab") as file:
            file.write(text.getvalue().encode("utf-8", "backslashreplace"))  # names need not be UTF-8
            file.flush()
            os.fsync(file.fileno())
            self.lengths[name] = file.tell()

    def _keep(self) -> None:
        state = {name: value for name, value in vars(self).items() if name != "out"}
        write_text(self.out.work / _STATE, json.dumps(state))
