"""A study as one page: `python -m analysis.report runs_dir=runs`."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from analysis.report.build import build_report
from analysis.report.page import check_output, write_report
from analysis.runs.arguments import Key, StudyArguments, help_lines, key_values, keys_of, settings_from
from stages.console.output import output, refuse
from stages.errors import RelayError
from stages.metrics import PRIMARY


@dataclass(frozen=True)
class Arguments(StudyArguments):
    """What the command takes."""

    metric: Annotated[str, Key("which metric the answer is about (names: docs/statistics.md)")] = PRIMARY
    out: Annotated[
        Path | None,
        Key("where report.html, tables/ and figures/ go; report/ in the store if left out", "FOLDER"),
    ] = None
    test: Annotated[
        str | None,
        Key(
            "open reads the locked test set and adds its section; every look is written down in the store",
            "open",
        ),
    ] = None


def main(arguments: Sequence[str]) -> None:
    """Write the report and print where it is.

    Raises:
        SystemExit: with code 1 and one message if that is not possible.
    """
    try:
        example = "python -m analysis.report runs_dir=runs"
        given = Arguments(**settings_from(key_values(arguments, keys_of(Arguments), example), Arguments))
        out = given.out or given.runs_dir / "report"
        check_output(out)
        typed = f"python -m analysis.report {shlex.join(arguments)}"
        report = build_report(given.runs_dir, given.study, given.metric, test=given.test, command=typed)
        page = write_report(report, out)
    except (RelayError, OSError) as error:
        refuse(error)
    output().print(f"report: {page}", soft_wrap=True)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(f"{__doc__}\n\n{help_lines(Arguments)}", soft_wrap=True)
    else:
        main(sys.argv[1:])
