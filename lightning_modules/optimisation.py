"""The optimiser of a stage, its groups of parameters, and the schedules of its rate: torch's own."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lightning_modules.build import specification
from lightning_modules.layers import layer_parameters
from lightning_modules.transfer import trainable_parameters
from stages.recipe import Optim


def optimiser(network: nn.Module, settings: Optim, *, fused: bool) -> torch.optim.Optimizer:
    """SGD or AdamW, torch's, over the parameters that are not frozen.

    AdamW's betas are (momentum, 0.999). Its weight decay leaves alone what has fewer than two dimensions
    (biases, normalisations) and what the network's own `no_weight_decay` names, as timm's does; SGD's pulls
    at every parameter, as torch's does.

    Args:
        network: Its layers are asked for only where they have rates or beginnings of their own.
        settings: How to step.
        fused: Whether all parameters are stepped in one pass over memory.

    Raises:
        RelayError: Every parameter is frozen.
    """
    groups = _groups(network, settings)
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), fused=fused)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=fused)


def _groups(network: nn.Module, settings: Optim) -> list[dict[str, Any]]:
    """The parameters by their rate and their decay, in the order in which they were registered.

    One group without a layer decay, and with weights that all decay alike. With gradual unfreezing each
    layer is a group of its own: torch's fused SGD refuses one of which a part has momentum already.
    """
    trained = {id(parameter) for parameter in trainable_parameters(network)}
    layers = _layers(network) if settings.layer_decay < 1 or settings.unfreeze_epochs else {}
    spared = set(getattr(network, "no_weight_decay", set)()) if settings.name == "adamw" else set[str]()
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if id(parameter) not in trained:
            continue
        decays = settings.name == "sgd" or (parameter.dim() > 1 and name not in spared)
        key = (layers.get(name, 0), settings.weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": group, "lr": settings.lr * settings.layer_decay**depth, "weight_decay": decay}
        for (depth, decay), group in groups.items()
    ]


def _layers(network: nn.Module) -> Mapping[str, int]:
    """Parameter -> how many layers come after its own; several heads are one."""
    layers, heads = reversed(layer_parameters(network).values()), specification(network).words["head"]
    return {name: max(0, place + 1 - len(heads)) for place, names in enumerate(layers) for name in names}


def by_step(optimizer: torch.optim.Optimizer, settings: Optim, steps: int) -> LambdaLR:
    """The warm-up, and the cosine after it (Loshchilov and Hutter 2017, equation 5, one period to zero).

    Args:
        optimizer: Of which all groups' rates are multiplied alike.
        settings: Warm-up and schedule.
        steps: Of the whole training; a cosine ends with them.
    """
    warm = settings.warmup_steps

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if settings.schedule != "cosine":
            return 1.0
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    return LambdaLR(optimizer, factor)


def on_plateau(optimizer: torch.optim.Optimizer, settings: Optim) -> ReduceLROnPlateau:
    """The rate that falls when the loss is level; `threshold`, the fall that counts, is set at each epoch."""
    assert settings.step_factor is not None and settings.step_patience is not None, "the group checks it"
    return ReduceLROnPlateau(
        optimizer,
        factor=settings.step_factor,
        patience=settings.step_patience - 1,  # torch's is exceeded, not reached
        threshold_mode="abs",
        eps=0.0,  # else torch leaves a rate alone that is next to nothing, as of a far layer with its decay
    )
