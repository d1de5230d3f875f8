"""The command `relay`: `relay train ...` is `python train.py ...`, from any folder.

It becomes the program that was asked for: signals, exit codes and what is typed are that program's own.
"""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version

from relay_transfer import HOME
from relay_transfer.commands import COMMANDS, STARTED_BY, completion


def main(typed: Sequence[str] | None = None) -> None:
    """Become the program that was typed.

    Raises:
        SystemExit: with code 2 and one message if there is no such command; 0 after help or the version.
    """
    typed = sys.argv[1:] if typed is None else typed
    if not typed or typed[0] in ("-h", "--help", "help"):
        print(_help())
        sys.exit(0)
    name, *rest = typed
    if name == "--version":
        print(version("relay-transfer"))
        sys.exit(0)
    if (name, *rest) == ("train", "-sc", "install=bash"):
        print(completion())
        sys.exit(0)
    if name != "python" and name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "relay --help lists them"
        print(f"relay: there is no command '{name}'; {hint}", file=sys.stderr)
        sys.exit(2)
    sys.stdout.flush()
    os.execve(*_program(name, rest))


def _program(name: str, arguments: Sequence[str]) -> tuple[str, list[str], dict[str, str]]:
    """File, arguments and environment of the process that this one becomes."""
    paths = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        STARTED_BY: "relay",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",  # a folder `analysis` where the user stands is not ours
    }
    python = sys.executable
    if name == "python":
        return python, [python, *arguments], environment
    program = COMMANDS[name][0]
    if program.endswith(".sh"):
        return "/bin/bash", ["bash", str(HOME / program), *arguments], {**environment, "PYTHON": python}
    start = [str(HOME / program)] if program.endswith(".py") else ["-m", program]
    return python, [python, *start, *arguments], environment


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  relay {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "Relay: train one network through a chain of source domains, and learn which chain helps.",
            "",
            *lines,
            f"  relay {'python':{width}}  a Python that imports Relay's packages",
            "",
            "relay COMMAND --help says what it takes. relay --version",
            f"The pages that messages name, such as docs/files.md: {HOME / 'docs'}",
        ]
    )


if __name__ == "__main__":
    main()
