"""A stage run's LightningModule: the network with its first weights, by the transfer rule."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from lightning_modules.build import build_network
from lightning_modules.classifier import REPORT_KEY, StageModule
from lightning_modules.transfer import TransferReport, apply_transfer, freeze, scratch_report
from lightning_modules.transfer_rule import TransferRule
from lightning_modules.weights import read_stored_weights, read_weights
from stages.balance import class_weights
from stages.recipe import Recipe, short_id
from stages.seeds import Seeds
from stages.store import RunFolder


def build_module(
    recipe: Recipe,
    seeds: Seeds,
    train_counts: Sequence[int],
    weights: Path | None,
    checkpoint: Mapping[str, Any] = MappingProxyType({}),
) -> StageModule:
    """The module of a stage run, ready to fit.

    Args:
        recipe: The stage run's recipe.
        seeds: Its random streams.
        train_counts: Number of training images of each class; there are as many outputs.
        weights: The file of weights that it starts from, a parent's in its folder; None for random weights.
        checkpoint: The resume checkpoint that will be loaded into the module; its transfer report stands in
            for `weights`, which are not read. Empty without one.

    Raises:
        RelayError: If the checkpoint cannot be read or does not fit the network.
    """
    network = build_network(
        recipe.model.name,
        num_classes=len(train_counts),
        dropout=recipe.model.dropout,
        initialisation=recipe.model.initialisation,
        width=recipe.model.width,
        seed=seeds.initialisation,
    )
    if checkpoint:
        report = TransferReport.from_dict(checkpoint[REPORT_KEY])
        freeze(network, report)
    else:
        report = _first_weights(network, recipe, seeds, weights)
    if recipe.arithmetic.memory_format == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    if recipe.arithmetic.compile:
        network.compile()
    fused = recipe.arithmetic.precision != "16-mixed"
    weights_of_classes = class_weights(recipe.optim, train_counts)
    return StageModule(
        network, report, recipe.optim, seeds.dropout, class_weights=weights_of_classes, fused=fused
    )


def _first_weights(network: nn.Module, recipe: Recipe, seeds: Seeds, weights: Path | None) -> TransferReport:
    if weights is None:
        return scratch_report(network)
    kind, source = ("parent", recipe.parent) if recipe.parent else ("init_from", recipe.init_from or "")
    rule, layers = recipe.transfer, recipe.transfer_layers
    assert rule is not None and layers is not None, "a run that starts from weights has a rule"
    return apply_transfer(
        network,
        read_stored_weights(RunFolder(weights.parent)) if recipe.parent else read_weights(weights),
        TransferRule(rule, layers.reinitialise, layers.freeze),
        scheme=recipe.model.initialisation,
        seed=seeds.initialisation,
        source=f"{kind} {short_id(source)}",
    )
