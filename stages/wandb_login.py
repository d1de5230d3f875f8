"""Whether this machine has a login for Weights & Biases, without asking for one and without network."""

import netrc
import os
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
