"""Batch normalisation in several processes: by the statistics of the whole batch, as in one process."""

import torch
from torch import nn

from stages.errors import RelayError


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Let a network's batch normalisations share their statistics among the processes, in place.

    Parameters, buffers and their names stay as they are. A network without batch normalisation is left alone.

    Args:
        network: The network of one of several processes.
        device: Where it computes.

    Raises:
        RelayError: It computes on a processor, where torch cannot share them: each process would normalise by
            its own part of the batch, and the result would depend on the number of processes.
    """
    batch_norms = nn.modules.batchnorm._BatchNorm
    found = [name for name, module in network.named_modules() if isinstance(module, batch_norms)]
    if not found:
        return
    if device.type != "cuda":
        raise RelayError(
            f"trainer.devices is more than 1, and the network has batch normalisations ({found[0]} and "
            f"{len(found) - 1} more), which on a processor cannot share the statistics of a batch; set "
            "trainer.devices=1, or train on GPUs"
        )
    # timm's knows normalisations with an activation of their own
    from timm.layers.norm_act import convert_sync_batchnorm

    for name, child in network.named_children():
        setattr(network, name, convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
