"""A polite request to end (SIGTERM, or the terminal was closed) ends a program as Ctrl-C does."""

import os
import signal
import threading
import time
from types import FrameType

_ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
)

_received: signal.Signals = signal.SIGINT


def end_as_after_ctrl_c() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt; one that is ignored (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():  # only that one may say what a signal does
        return
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def end_with_parent() -> None:
    """End this process soon after the one that started it has gone, such as one of DDP's that was killed."""
    parent = os.getppid()

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
