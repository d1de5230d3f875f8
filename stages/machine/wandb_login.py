"""Weights & Biases: whether this machine has a login and reaches the server, and what is never sent."""

import hashlib
import logging
import netrc
import os
import ssl
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, getproxies, urlopen

log = logging.getLogger(__name__)

_SECONDS_TO_CONNECT = 10.0
SECONDS_TO_START = 90.0  # W&B's own
_SECONDS_TO_SEND = 120.0  # at the end of a run; what is left over stays in its folder, for `wandb sync`


_CLOUD = ("api.wandb.ai", "api.forge.coreweave.com", "forge.coreweave.com")  # one server: since wandb 0.31
_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")  # the last two are old names
# The first two make W&B leave the id that a run is given aside.
_AGENTS = ("WANDB_SWEEP_ID", "WANDB_LAUNCH", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")

_gave_up: set[str] = set()  # servers that failed in this process


def _own_settings() -> tuple[str, str]:
    """Server and mode by W&B's own settings: the environment, `wandb login --host`, `wandb offline`."""
    import wandb

    try:
        settings = wandb.setup().settings
        return str(settings.base_url).rstrip("/"), str(settings.mode)
    except Exception:  # it refuses its own environment, and says so when a run starts
        return "https://api.wandb.ai", "online"


def wandb_mode(setting: str) -> Any:
    """The mode for `logger.wandb`: `auto` is online if there is a key, else offline. W&B's own choices win.

    These are WANDB_MODE, and what `wandb offline` and `wandb disabled` have left.
    """
    typed = os.environ.get("WANDB_MODE")
    if typed is not None and typed not in _MODES:  # W&B would start in no mode at all
        if typed:
            log.warning("WANDB_MODE=%s is none of online, offline, disabled, and is not used.", typed)
        del os.environ["WANDB_MODE"]
        typed = None
    if setting != "auto":
        return setting
    if typed is not None:
        return typed
    _, chosen = _own_settings()
    if chosen in ("offline", "disabled"):
        return chosen
    return "online" if logged_in() else "offline"


def leave_agent(stage_runs: int) -> None:
    """Log a command's stage runs as W&B runs of their own, where `wandb agent` or W&B Launch started it.

    Their run is one, and W&B would take its id for each stage run. Call this before W&B reads its settings;
    processes that are started later inherit it. A command with a single stage run stays in the agent's.

    Args:
        stage_runs: how many the command has, complete ones too.
    """
    if stage_runs < 2 or not any(os.environ.get(name) for name in _AGENTS[:2]):
        return
    for name in _AGENTS:
        os.environ.pop(name, None)
    log.warning(
        "This command has %d stage runs, and the run of a W&B agent is one: each is logged as a W&B run of "
        "its own, outside of the agent's sweep. See docs/wandb.md",
        stage_runs,
    )


def why_not_now() -> str | None:
    """Why W&B's server cannot be used now; None if it can, or if only W&B finds out (behind a proxy).

    W&B itself would try for a minute and a half, for each run.
    """
    address, _ = _own_settings()
    if address in _gave_up:
        return "it failed before"
    if getproxies():
        return None
    question = Request(
        f"{address}/graphql",
        b'{"query": "{__typename}"}',
        {"Content-Type": "application/json"},
        method="POST",
    )
    try:
        urlopen(question, timeout=_SECONDS_TO_CONNECT).close()
    except HTTPError as error:  # such as 400 or 401, for want of a login
        return f"its server answers {error.code}" if error.code >= 500 else None
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):  # W&B may know the certificate
            return None
        return "its server takes no connection"
    return None


def give_up() -> None:
    """Do not try W&B's server again in this process."""
    _gave_up.add(_own_settings()[0])


def fitting(name: str, most: int) -> str:
    """A name of at most so many characters: a longer one is cut, and ends with a digest of the whole."""
    return (
        name if len(name) <= most else f"{name[: most - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


def logged_in() -> bool:
    """Whether there is a key for W&B's server: WANDB_API_KEY, or an entry of `wandb login` for its host."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(_own_settings()[0]).hostname or ""
    names = _CLOUD if host in _CLOUD else (host,)
    try:
        logins = netrc.netrc(os.environ.get("NETRC"))
        return any(logins.authenticators(name) is not None for name in names)
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
