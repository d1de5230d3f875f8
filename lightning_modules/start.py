"""A stage run's LightningModule: the network with its first weights, by the transfer rule."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from lightning_modules.build import build_model
from lightning_modules.classifier import REPORT_KEY, StageModule
from lightning_modules.transfer import (
    TransferReport,
    apply_transfer,
    freeze,
    kept_tensors,
    scratch_report,
    set_train_mode,
)
from lightning_modules.transfer_rule import TransferRule
from lightning_modules.weights import find_weights, read_checkpoint, read_stored_weights
from stages.balance import class_weights, images_of_each_class
from stages.build import users_digest, weights_named
from stages.errors import RelayError
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
    network = network_of(recipe, len(train_counts))
    if checkpoint:
        report = TransferReport.from_dict(checkpoint[REPORT_KEY])
        freeze(network, report)
    else:
        report = first_weights(network, recipe, weights)
    _check_batches(network, report, recipe, train_counts)
    if recipe.arithmetic.memory_format == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    if recipe.arithmetic.compile:
        network.compile()
    fused = recipe.arithmetic.precision != "16-mixed"
    weights_of_classes = class_weights(recipe.optim, train_counts)
    return StageModule(
        network, report, recipe.optim, seeds.dropout, class_weights=weights_of_classes, fused=fused
    )


def network_of(recipe: Recipe, num_classes: int) -> nn.Module:
    """The network of a recipe with random weights.

    Args:
        recipe: A stage run's recipe.
        num_classes: Number of outputs.
    """
    return build_model(recipe.model, num_classes, Seeds.of(recipe.seed).initialisation)


def first_weights(network: nn.Module, recipe: Recipe, weights: Path | None) -> TransferReport:
    """Start a new network as a recipe says.

    Args:
        network: As `network_of` builds it.
        recipe: The stage run's recipe.
        weights: See `build_module`.

    Raises:
        RelayError: As `build_module`, and if a checkpoint of the user's is not the one of the recipe.
    """
    if weights is None:
        return scratch_report(network)
    layers = recipe.transfer_layers
    assert recipe.transfer is not None and layers is not None, "a run that starts from weights has a rule"
    rule = TransferRule(recipe.transfer, layers.reinitialise, layers.freeze)
    scheme, seed = recipe.model.initialisation, Seeds.of(recipe.seed).initialisation
    if recipe.parent:
        tensors, source = read_stored_weights(RunFolder(weights.parent)), f"parent {short_id(recipe.parent)}"
        return apply_transfer(
            network, tensors, rule, scheme=scheme, seed=seed, source=source, file=str(weights)
        )
    named = weights_named(weights, recipe.given)
    found = find_weights(read_checkpoint(weights), kept_tensors(network, rule), network)
    source = f"{recipe.given or 'init_from'} {short_id(recipe.init_from or '')}"
    report = apply_transfer(network, found.tensors, rule, scheme=scheme, seed=seed, source=source, file=named)
    if users_digest(weights, recipe.given) != recipe.init_from:
        raise RelayError(f"{named} was changed while it was read; type the same command again")
    return replace(report, names=found.names, dropped=found.dropped)


def _check_batches(
    network: nn.Module, report: TransferReport, recipe: Recipe, train_counts: Sequence[int]
) -> None:
    """Refuse a single image, alone in a batch or in a part of one, where batch normalisation needs more.

    Raises:
        RelayError: With a batch size that leaves more.
    """
    of_class, optim, size = images_of_each_class(train_counts), recipe.optim, recipe.data.image_size
    images = of_class * len(train_counts) if optim.sampling == "balanced" else sum(train_counts)

    def alone(batch: int) -> bool:
        """Whether a part that is run by itself has one image: of a full batch, or of the last."""
        sizes = [size for size in (min(batch, images), images % batch) if size]
        return any(size // min(optim.accumulate, size) == 1 for size in sizes)

    if not alone(optim.batch_size):
        return
    shapes = copy.deepcopy(network).to("meta")
    set_train_mode(shapes, report)
    try:
        with torch.no_grad():
            shapes(torch.zeros(1, 3, size, size, device="meta"))
    except ValueError as error:
        better = next((each for each in range(optim.batch_size + 1, images + 1) if not alone(each)), None)
        raise RelayError(
            f"optim.batch_size={optim.batch_size} with optim.accumulate={optim.accumulate} leaves one image "
            f"by itself, of {images} in an epoch, and batch normalisation needs more ({error}); "
            + (
                f"try optim.batch_size={better}"
                if better
                else "take more images, or a lower optim.accumulate"
            )
        ) from None
