"""The console: where messages, tables and bars are printed."""

import logging
import os
import sys
import warnings
from contextlib import suppress
from functools import cache, partial
from typing import NoReturn

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from relay_transfer.commands import as_typed
from stages.console.printable import Printable, printable

# Without a terminal rich assumes 80 columns; a file has more room.
_WIDTH_WITHOUT_TERMINAL = 150


class _Output(Console):
    """A console on standard output whose reader may go: what follows is printed nowhere, and work goes on."""

    def on_broken_pipe(self) -> None:
        """Be quiet from now on, where rich would end the program: `| head` is no reason to stop training."""
        self.quiet = True
        with suppress(OSError, ValueError):  # what Python still holds is written there at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # rich knows broken pipes only: a terminal was closed, or the disk of a log is full
            self.on_broken_pipe()


@cache
def output() -> Console:
    """The one console of the process, on standard output; wide enough for the tables without a terminal.

    What it prints is literal: a name such as `[red]` or `:smile:` is no markup. Log messages, bars and the
    status line share it, so that a message is printed above a bar and not into it.
    """
    literal = partial(_Output, highlight=False, markup=False, emoji=False)
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
        sys.exit(1)


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
        f"[bold red]error:[/] {escape(as_typed(printable(str(error))))}"
    )
    sys.exit(2)


def silence_known_warnings() -> None:
    """Hide warnings between Relay's dependencies, about which a user can do nothing."""
    # Lightning 2.6.6 under torch 2.14
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    # Lightning, on any machine with Slurm: train.py starts a run's processes itself
    warnings.filterwarnings("ignore", message="The `srun` command is available")
