"""The console: where messages, tables and bars are printed."""

import logging
import sys
import warnings
from functools import cache, partial
from typing import NoReturn

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from stages.console.printable import Printable, printable

# Without a terminal rich assumes 80 columns; a file has more room.
_WIDTH_WITHOUT_TERMINAL = 150


@cache
def output() -> Console:
    """The one console of the process, on standard output; wide enough for the tables without a terminal.

    What it prints is literal: a name such as `[red]` or `:smile:` is no markup. Log messages, bars and the
    status line share it, so that a message is printed above a bar and not into it.
    """
    literal = partial(Console, highlight=False, markup=False, emoji=False)
    terminal = literal()
    console = terminal if terminal.is_terminal else literal(width=_WIDTH_WITHOUT_TERMINAL)
    console.push_render_hook(Printable())
    return console


def write_out(text: str) -> None:
    """Write a text for another program to standard output, as it is.

    Raises:
        SystemExit: with code 1 where its reader has gone, such as `head`.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        output().on_broken_pipe()


def bar() -> Progress:
    """A bar with its count and the time left, for a `with` block; nothing without a terminal."""
    console = output()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def log_handler() -> logging.Handler:
    """The handler of all log messages: through rich, on standard output."""
    handler = RichHandler(console=output(), show_path=False)
    handler.setFormatter(logging.Formatter("%(message)s", datefmt="[%X]"))
    return handler


def refuse(error: Exception) -> NoReturn:
    """Print why nothing was done, and exit.

    Raises:
        SystemExit: with code 2, as for any command that cannot be used as it was typed.
    """
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"[bold red]error:[/] {escape(printable(str(error)))}"
    )
    sys.exit(2)


def silence_known_warnings() -> None:
    """Hide warnings between Relay's dependencies, about which a user can do nothing."""
    # Lightning 2.6.6 under torch 2.14
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    # Lightning, on any machine with Slurm: train.py starts a run's processes itself
    warnings.filterwarnings("ignore", message="The `srun` command is available")
