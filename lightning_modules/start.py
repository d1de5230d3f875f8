"""A stage run's LightningModule: the network with its first weights, by the transfer rule."""

from pathlib import Path

import torch
from torch import nn

from lightning_modules.classifier import Optimisation, StageModule
from lightning_modules.networks import build_network
from lightning_modules.transfer import RULES, TransferReport, apply_transfer, scratch_report
from lightning_modules.weights import read_weights
from stages.recipe import Recipe
from stages.seeds import Seeds


def build_module(
    recipe: Recipe, seeds: Seeds, classes: int, weights: Path | None, source: str
) -> StageModule:
    """The module of a stage run, ready to fit.

    Args:
        recipe: the stage run's recipe.
        seeds: its random streams.
        classes: number of classes of its domain.
        weights: the checkpoint that it starts from, or None for random weights.
        source: that checkpoint's name for the record.

    Raises:
        RelayError: if the checkpoint cannot be read or does not fit the network.
    """
    network = build_network(
        recipe.model.name,
        num_classes=classes,
        dropout=recipe.model.dropout,
        initialisation=recipe.model.initialisation,
        width=recipe.model.width,
        seed=seeds.initialisation,
    )
    report = _first_weights(network, recipe, seeds, weights, source)
    if recipe.arithmetic.memory_format == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    if recipe.arithmetic.compile:
        network.compile()
    optimisation = Optimisation(
        lr=recipe.optim.lr,
        momentum=recipe.optim.momentum,
        weight_decay=recipe.optim.weight_decay,
        warmup_steps=recipe.optim.warmup_steps,
        gradient_clip=recipe.optim.gradient_clip,
        fused=recipe.arithmetic.precision != "16-mixed",
    )
    return StageModule(network, report, optimisation, seeds.dropout)


def _first_weights(
    network: nn.Module, recipe: Recipe, seeds: Seeds, weights: Path | None, source: str
) -> TransferReport:
    if weights is None:
        return scratch_report(network)
    assert recipe.transfer is not None, "a recipe with a parent or a checkpoint has a transfer rule"
    return apply_transfer(
        network,
        read_weights(weights),
        RULES[recipe.transfer],
        scheme=recipe.model.initialisation,
        seed=seeds.initialisation,
        source=source,
    )
