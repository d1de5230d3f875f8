"""A polite request to end (SIGTERM, or the terminal was closed) ends a program as Ctrl-C does.

So do the warnings of schedulers before a time limit: what users of Lightning know as `--signal=SIGUSR1@90`
of Slurm, SIGUSR2 of SGE and LSF, SIGXCPU of limits of CPU time. Python would end without a word.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)  # Windows has no SIGHUP
)

_received: signal.Signals = signal.SIGINT


def end_as_after_ctrl_c() -> None:
    """From now on these raise KeyboardInterrupt; one that is ignored (nohup) or has a use stays so."""
    if threading.current_thread() is not threading.main_thread():  # only that one may say what a signal does
        return
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back Ctrl-C and a request to end until the block is left: a native library would mistake them.

    A KeyboardInterrupt inside of `torch.save` comes out as an error of its archive, or not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {}
    for number in (signal.SIGINT, *_ENDING):
        if callable(handler := signal.getsignal(number)):
            before[number] = handler
            signal.signal(number, lambda *received: came.append(received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in came[:1]:
            before[signal.Signals(number)](number, frame)


def end_with_parent(parent: int | None = None) -> None:
    """End this process soon after the one that started it has gone, such as one of DDP's that was killed.

    Args:
        parent: the one that started it, where that knows itself: it may be gone already.
    """
    parent = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ending_signal() -> signal.Signals:
    """The signal that a KeyboardInterrupt stands for: SIGINT, unless another one came."""
    return _received


def _interrupt(number: int, _: FrameType | None) -> None:
    global _received  # noqa: PLW0603  # a process ends once
    _received = signal.Signals(number)
    raise KeyboardInterrupt
