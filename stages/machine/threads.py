"""CPU threads of this process: as many as the configuration says, whatever the environment says."""

import logging
import os

from stages.machine.resources import available_cores

log = logging.getLogger(__name__)

# With these OpenMP starts fewer threads than it is told to, by the load of the machine or by a limit. Where
# oneDNN then waits for the others, a step never ends. HTCondor sets a limit.
_TAKE_THREADS_AWAY = (
    *("OMP_DYNAMIC", "OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED"),
    *("KMP_ALL_THREADS", "KMP_DEVICE_THREAD_LIMIT", "KMP_DYNAMIC_MODE"),
)


def ignore_limits_of_threads() -> None:
    """Forget what the environment says of the number of threads. Call it before torch is loaded."""
    for name in _TAKE_THREADS_AWAY:
        os.environ.pop(name, None)


def set_threads(threads: int) -> None:
    """Let torch compute with this many threads, in the processes that Lightning starts, too.

    Lightning divides the machine's cores among these, unless the environment has a number.
    """
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    if (cores := available_cores()) < threads:
        log.warning("trainer.threads=%d on fewer cores (%d): the same results, slower.", threads, cores)
