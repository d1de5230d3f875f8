"""Checks a store: `python -m stages.verify runs_dir=runs [json=true]`.

Every stage run, complete or not: each file against its SHA-256 in the record, the recipe's hash against id
and folder, the record against the recipe, the history and the predictions, the parent's weights against those
that the run began with, resume checkpoints, and what killed processes left. Nothing is written.

With json=true it prints a list of {"run", "file", "problem", "remedy"}: `run` is STAGE/ID or null, `file` a
path below the store. The exit code is 0 if all is well, 1 if something is wrong, 2 if it cannot be checked.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from stages.console.arguments import key_values
from stages.console.output import bar, output, refuse, write_out
from stages.console.words import counted
from stages.errors import RelayError, unknown_name
from stages.verify.store import Verified, verify_store


def main(arguments: Sequence[str]) -> int:
    """Check a store, and print what is wrong.

    Returns:
        The exit code: 1 if something is wrong, else 0.

    Raises:
        SystemExit: with code 2 and one message if that is not possible; 130 after Ctrl-C.
    """
    try:
        given = key_values(arguments, ("runs_dir", "json"))
        if "runs_dir" not in given:
            raise RelayError("give the store: python -m stages.verify runs_dir=runs")
        as_json = given.get("json", "false")
        if as_json not in ("true", "false"):
            raise unknown_name("json", as_json, ("true", "false"))
        with bar() as progress:
            task = progress.add_task("stage runs checked", total=None)
            found = verify_store(
                Path(given["runs_dir"]).expanduser(),
                lambda done, of: progress.update(task, completed=done, total=of),
            )
    except RelayError as error:
        refuse(error)
    except KeyboardInterrupt:
        sys.exit(130)
    if as_json == "true":
        write_out(json.dumps([asdict(finding) for finding in found.findings], indent=1, ensure_ascii=False))
    else:
        _print(found)
    return 1 if found.findings else 0


def _print(found: Verified) -> None:
    for finding in found.findings:
        output().print(f"{finding.file}: {finding.problem}", style="red", soft_wrap=True)
        output().print(f"    {finding.remedy}", soft_wrap=True)
    wrong = f"{counted(len(found.findings), 'thing')} wrong" if found.findings else "all is well"
    older = f"; {found.older} of an older version of Relay, not checked" if found.older else ""
    unfinished = f" and {found.unfinished} unfinished" if found.unfinished else ""
    output().print(
        f"{counted(found.complete, 'complete stage run')}{unfinished}{older}: {wrong}", soft_wrap=True
    )


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(__doc__, soft_wrap=True)
    else:
        sys.exit(main(sys.argv[1:]))
