"""Where networks are applied: the device, and how many threads of the processor."""

from typing import Literal

import torch

from stages.errors import RelayError
from stages.machine.resources import available_cores
from stages.machine.threads import set_threads


def chosen_device(name: Literal["auto", "cpu", "cuda"], threads: int | None) -> torch.device:
    """The device of a name, and as many threads as were asked for, or as there are cores.

    Raises:
        RelayError: cuda is asked for and not there.
    """
    set_threads(threads or available_cores())
    if name == "cuda" and not torch.cuda.is_available():
        raise RelayError("device=cuda, but torch finds no GPU here; leave device out, or see nvidia-smi")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
