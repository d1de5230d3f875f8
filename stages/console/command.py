"""The frame of `train.py`: what was typed goes in, a refusal and an exit code come out."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

from relay_transfer.commands import as_typed
from stages.console.arguments import for_hydra
from stages.console.hydra_words import is_composing, refusal
from stages.console.output import refuse
from stages.errors import RelayError
from stages.machine.signals import end_as_after_ctrl_c, ending_signal
from stages.machine.threads import ignore_limits_of_threads

log = logging.getLogger(__name__)

_RAISES = "HYDRA_FULL_ERROR"  # where it is 1, Hydra hands on exceptions instead of printing them


def run_command(main: Callable[[], object]) -> None:
    """Run Hydra's `main` with what was typed.

    Raises:
        SystemExit: with code 2 and one message where nothing was done: the command, the configuration, the
            data or a file cannot be used; 1 if a stage run failed; 130 after Ctrl-C, 143 after SIGTERM.
        Exception: any other, with its traceback; Hydra's own too, if the user has set HYDRA_FULL_ERROR.
    """
    before = os.environ.get(_RAISES)
    end_as_after_ctrl_c()
    ignore_limits_of_threads()
    try:
        sys.argv[1:] = for_hydra(sys.argv[1:])
        os.environ[_RAISES] = "1"
        with _help_as_typed():
            main()
    except RelayError as error:
        refuse(error)
    except KeyboardInterrupt:
        ended_by = ending_signal()
        how = "Interrupted" if ended_by == signal.SIGINT else f"Ended by {ended_by.name}"
        log.warning(
            "%s. The same command trains what is missing, from the last checkpoint where there is one.", how
        )
        sys.exit(128 + ended_by)
    except Exception as error:
        if before == "1" or not is_composing(error):
            raise
        refuse(refusal(error))
    finally:
        os.environ.pop(_RAISES, None)
        if before is not None:
            os.environ[_RAISES] = before


@contextmanager
def _help_as_typed() -> Iterator[None]:
    """Hydra prints the help itself, with the commands of a checkout: they are said as they are typed here."""
    if not {"-h", "--help"} & set(sys.argv[1:]):
        yield
        return
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        print(as_typed(printed.getvalue()), end="")
