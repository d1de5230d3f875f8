"""A study as one page: `python -m analysis.report runs_dir=runs`.

runs_dir=FOLDER   the store that train.py wrote to
out=FOLDER        where report.html, tables/ and figures/ go; FOLDER/report in the store if left out
study=ID          which study, if the store holds several; the one with the most runs if left out
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report.build import build_report
from analysis.report.page import write_report
from analysis.runs.arguments import key_values
from stages.console.output import output, refuse
from stages.errors import RelayError

_KEYS = ("runs_dir", "out", "study")


def main(arguments: Sequence[str]) -> None:
    """Write the report and print where it is.

    Raises:
        SystemExit: with code 1 and one message if that is not possible.
    """
    try:
        given = key_values(arguments, _KEYS, example="python -m analysis.report runs_dir=runs")
        runs_dir = Path(given["runs_dir"]).expanduser()
        folder = Path(given["out"]).expanduser() if "out" in given else runs_dir / "report"
        page = write_report(build_report(runs_dir, given.get("study")), folder)
    except (RelayError, OSError) as error:
        refuse(error)
    output().print(f"report: {page}", soft_wrap=True)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(__doc__)
    else:
        main(sys.argv[1:])
