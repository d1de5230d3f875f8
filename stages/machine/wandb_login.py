"""Weights & Biases: whether this machine has a login and reaches the server, and what is never sent."""

import hashlib
import netrc
import os
import socket
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

_SECONDS_TO_CONNECT = 10.0
SECONDS_TO_START = 90.0  # W&B's own
_SECONDS_TO_SEND = 120.0  # at the end of a run; what is left over stays in its folder, for `wandb sync`


def _server() -> tuple[str, int]:
    address = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    return address.hostname or "", address.port or (80 if address.scheme == "http" else 443)


def reachable() -> bool:
    """Whether W&B's server takes a connection; taken for granted where a proxy stands between.

    W&B itself would try for a minute and a half.
    """
    if getproxies():
        return True
    try:
        socket.create_connection(_server(), _SECONDS_TO_CONNECT).close()
    except OSError:
        return False
    return True


def fitting(name: str, most: int) -> str:
    """A name of at most so many characters: a longer one is cut, and ends with a digest of the whole."""
    return (
        name if len(name) <= most else f"{name[: most - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


def logged_in() -> bool:
    """Whether there is a key for W&B's server: WANDB_API_KEY, or an entry of `wandb login` for its host."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(_server()[0]) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def private_settings() -> Any:
    """`wandb.Settings` of every run that Relay logs: silent, without names of this machine or its paths."""
    import wandb

    return wandb.Settings(
        silent=True,
        init_timeout=SECONDS_TO_START,
        finish_timeout=_SECONDS_TO_SEND,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,  # the command line and its paths
        host="",  # else the machine's name
    )
