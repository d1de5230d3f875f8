"""Weights & Biases without a network: whether this machine has a login, and what is never sent."""

import netrc
import os
from typing import Any
from urllib.parse import urlparse


def logged_in() -> bool:
    """Whether there is a key for W&B's server: WANDB_API_KEY, or an entry of `wandb login` for its host."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def private_settings() -> Any:
    """`wandb.Settings` of every run that Relay logs: silent, without names of this machine or its paths."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,  # the command line and its paths
        host="",  # else the machine's name
    )
