"""Optimisers, schedules, accumulation, smoothing, layer decay and unfreezing, against torch and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from lightning_modules.alexnet import AlexNet
from lightning_modules.classifier import StageModule
from lightning_modules.optimisation import by_step, on_plateau, optimiser
from lightning_modules.transfer import apply_transfer
from lightning_modules.transfer_rule import TransferRule
from lightning_modules.unfreezing import rounds
from stages.recipe import Optim
from tests.helpers.plain_optim import PLAIN
from tests.lightning_modules.test_classifier import (
    CLASSES,
    Data,
    Linear,
    Watch,
    batches,
    fit,
    linear_module,
    same,
    saver,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")

ADAMW = replace(PLAIN, name="adamw", lr=0.01, momentum=0.8, weight_decay=0.1)


def test_adamw_steps_by_its_formula_and_biases_do_not_decay() -> None:
    """Loshchilov and Hutter (2019), algorithm 2, in float64."""
    (batch,) = batches((5,))
    module = linear_module(ADAMW)
    fit(module, Data([batch], batches((2,))), epochs=3)
    start = Linear().layer
    values: dict[str, Any] = {name: value.detach().double() for name, value in start.named_parameters()}
    first: dict[str, Any] = dict.fromkeys(values, 0.0)
    second: dict[str, Any] = dict.fromkeys(values, 0.0)
    images, truth = batch.images.flatten(1).double(), nn.functional.one_hot(batch.labels, CLASSES)
    for step in range(1, 4):
        shares = (images @ values["weight"].T + values["bias"]).softmax(dim=1)
        error = (shares - truth) / len(truth)
        for name, gradient in (("weight", error.T @ images), ("bias", error.sum(dim=0))):
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean, square = first[name] / (1 - 0.8**step), second[name] / (1 - 0.999**step)
            decay = 0.1 if name == "weight" else 0.0
            values[name] = values[name] * (1 - 0.01 * decay) - 0.01 * mean / (square.sqrt() + 1e-8)
    for name, value in weights(module).items():
        torch.testing.assert_close(value.double(), values[name.removeprefix("layer.")], rtol=1e-4, atol=1e-6)


def test_what_decays_and_at_which_rate() -> None:
    network = AlexNet(CLASSES, width=1 / 16)
    network.no_weight_decay = lambda: {"fc6.weight"}  # as networks of timm name what shall not
    groups = optimiser(network, replace(ADAMW, layer_decay=0.5), fused=True).param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {
        names[id(it)]: (group["lr"], group["weight_decay"]) for group in groups for it in group["params"]
    }
    order = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
    assert found == {
        f"{layer}.{kind}": (
            0.01 * 0.5 ** (7 - place), 0.1 if kind == "weight" and layer != "fc6" else 0.0
        )
        for place, layer in enumerate(order)
        for kind in ("weight", "bias")
    }  # fmt: skip
    (group,) = optimiser(network, replace(PLAIN, weight_decay=0.1), fused=True).param_groups
    assert (len(group["params"]), group["weight_decay"]) == (16, 0.1), "sgd's pulls at every parameter"


def rates(settings: Optim, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=settings.lr)
    schedule, found = by_step(optimizer, settings, steps), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # SequentialLR of torch 2.7 gives it
def test_the_cosine_is_torchs_after_the_warm_up() -> None:
    """Torch's `LinearLR` and `CosineAnnealingLR`, one after the other."""
    other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    linear = LinearLR(other, start_factor=1 / 3, total_iters=2)
    schedule = SequentialLR(other, [linear, CosineAnnealingLR(other, T_max=10)], milestones=[3])
    expected = []
    for _ in range(13):
        expected.append(other.param_groups[0]["lr"])
        other.step()
        schedule.step()
    assert rates(replace(PLAIN, schedule="cosine", warmup_steps=3), 13) == pytest.approx(expected, rel=1e-12)


def test_each_group_has_the_share_of_its_layer_throughout() -> None:
    """However low: 1e-6 * 0.1^7 falls, too, which torch itself leaves alone."""
    settings = replace(PLAIN, lr=1e-6, layer_decay=0.1, warmup_steps=2, schedule="cosine")
    settings = replace(settings, step_factor=0.5, step_patience=1)
    descent = optimiser(AlexNet(CLASSES, width=1 / 16), settings, fused=True)
    for schedule, factors in ((by_step(descent, settings, 6), (0.5, 1.0, 1.0)), (None, (1.0, 1.0, 0.5))):
        judge = on_plateau(descent, settings)
        for factor in factors:
            expected = [1e-6 * 0.1 ** (7 - place) * factor for place in range(8)]
            assert [group["lr"] for group in descent.param_groups] == pytest.approx(expected, rel=1e-9)
            descent.step()
            if schedule is None:
                judge.step(1.0)
            else:
                schedule.step()
        for group in descent.param_groups:
            group["lr"] = group["initial_lr"]


def test_a_cosine_ends_with_the_last_epoch() -> None:
    watch = Watch()
    module = linear_module(replace(PLAIN, schedule="cosine", lr=0.2))
    fit(module, Data(batches((2, 2, 2)), batches((2,))), watch, epochs=2)
    assert watch.rates == pytest.approx([0.1 * (1 + np.cos(np.pi * step / 6)) for step in range(6)])
    assert module.learning_rate == watch.rates[-1]


class Judge(Watch):
    """Calls each epoch's loss what it is told, where 0.1 is the fall that counts."""

    def __init__(self, losses: tuple[float, ...]) -> None:
        super().__init__(lambda trainer, module: module.loss_judged(losses[trainer.current_epoch], 0.1))


def test_the_rate_falls_when_the_loss_is_level_and_not_in_the_warm_up(tmp_path: Path) -> None:
    """Falls of less than 0.1 below the best do not count; resumed in the middle of the wait."""
    settings = replace(PLAIN, schedule="step", step_factor=0.5, step_patience=2, warmup_steps=3)
    data = Data(batches((2, 2)), batches((2,)))
    losses = (1.0, 1.0, 0.95, 0.92, 0.5, 0.5, 0.45, 0.45)
    whole = Judge(losses)
    fit(linear_module(settings), data, whole, saver(tmp_path / "last.ckpt", after=4), epochs=8)
    warm = [0.1 / 3, 0.2 / 3, 0.1, 0.1]
    # the first epoch is not judged: best 1.0 in the second; level in the third and fourth
    assert whole.rates == pytest.approx([*warm, *[0.1] * 4, *[0.05] * 6, *[0.025] * 2])
    resumed = Judge(losses)
    fit(linear_module(settings), data, resumed, epochs=8, resume=tmp_path / "last.ckpt")
    assert resumed.rates == whole.rates[10:]


def test_patience_is_reached_and_not_exceeded() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, found = on_plateau(optimizer, replace(PLAIN, step_factor=0.1, step_patience=1)), []
    schedule.threshold = 0.0
    for loss in (1.0, 0.9, 0.9, 0.8):
        schedule.step(loss)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize("of_class", [None, (0.4, 1.0, 3.0)], ids=["alike", "weighted"])
def test_smoothed_labels_are_torchs(of_class: tuple[float, ...] | None) -> None:
    (batch,) = batches((5,))
    module, watch = linear_module(replace(PLAIN, label_smoothing=0.2), of_class), Watch()
    fit(module, Data([batch], batches((2,))), watch, epochs=1)
    layer = Linear()
    weight = None if of_class is None else torch.tensor(of_class)
    loss = nn.CrossEntropyLoss(weight, label_smoothing=0.2)(layer(batch.images), batch.labels)
    loss.backward()
    assert watch.losses == pytest.approx([float(loss.detach())])
    with torch.no_grad():
        for parameter in layer.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad)
    for name, value in weights(module).items():
        torch.testing.assert_close(value, layer.state_dict()[name])


@pytest.mark.parametrize("of_class", [None, (0.4, 1.0, 3.0)], ids=["alike", "weighted"])
def test_the_parts_of_a_batch_are_one_step_of_the_whole(of_class: tuple[float, ...] | None) -> None:
    """Also of a last batch that has fewer images than parts."""
    settings = replace(PLAIN, momentum=0.9, label_smoothing=0.1, warmup_steps=4)
    train, found = batches((7, 7, 2)), []
    for parts in (1, 3):
        module, watch = linear_module(replace(settings, accumulate=parts), of_class), Watch()
        seen: list[int] = []
        module.network.register_forward_hook(
            lambda layer, inputs, output, seen=seen: seen.append(len(output)) if layer.training else None
        )
        fit(module, Data(train, batches((2,))), watch)
        found.append((weights(module), watch.losses, watch.rates, seen))
    (one, losses, rates_, whole), (three, losses_of_parts, rates_of_parts, parts_) = found
    for name, value in one.items():
        torch.testing.assert_close(three[name], value)
    assert losses_of_parts == pytest.approx(losses, rel=1e-6)
    assert rates_of_parts == rates_, "as many steps"
    assert (whole, parts_) == ([7, 7, 2] * 2, [3, 2, 2, 3, 2, 2, 1, 1] * 2)


RULE = TransferRule("mine", ("fc7", "fc8"), frozen=("conv1",))


def transferred(settings: Optim) -> StageModule:
    network = AlexNet(CLASSES, width=1 / 16, seed=8)
    parent = AlexNet(7, width=1 / 16, seed=7).state_dict()
    report = apply_transfer(network, parent, RULE, scheme="lecun_normal", seed=8, source="a parent")
    return StageModule(network, report, settings, dropout_seed=3)


def test_the_order_of_unfreezing() -> None:
    network = AlexNet.specification
    assert rounds(network, ("fc7", "fc8"), ("conv1",)) == (
        ("fc7", "fc8"), ("fc6",), ("conv5",), ("conv4",), ("conv3",), ("conv2",)
    )  # fmt: skip
    assert rounds(network, (), ())[:2] == (("fc8",), ("fc7",))
    assert rounds(network, ("conv1",), ())[0] == ("conv1", "fc8")
    assert rounds(network, (), ("fc8", "conv1"))[0] == ("fc7",), "a frozen head begins no round"
    distilled = replace(network, heads=("fc7", "fc8"))
    assert rounds(distilled, (), ())[:2] == (("fc7", "fc8"), ("fc6",))


@pytest.fixture(scope="module")
def images() -> Data:
    return Data(batches((4, 4), side=63, seed=1), batches((3,), side=63, seed=2))


LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
VARIANTS = {
    "adamw, cosine": replace(
        ADAMW, lr=1e-3, schedule="cosine", warmup_steps=1, accumulate=2, label_smoothing=0.1, layer_decay=0.7
    ),
    "sgd, unfreezing": replace(PLAIN, lr=0.05, momentum=0.9, weight_decay=0.1, unfreeze_epochs=1),
}


class Trained(Watch):
    """Keeps the weights after each epoch, and which layers are in training mode in its last step."""

    def __init__(self) -> None:
        super().__init__(lambda trainer, module: self.after.append(weights(module)))
        self.after: list[dict[str, Tensor]] = []
        self.training: dict[int, list[str]] = {}

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        parts = pl_module.network.named_children()
        self.training[trainer.current_epoch] = [
            name for name, part in parts if name in LAYERS and part.training
        ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_has_the_same_bits(images: Data, tmp_path: Path, variant: str) -> None:
    """And layers that wait keep their parent's bits, decay and momentum or not, in evaluation mode."""
    settings, watch = VARIANTS[variant], Trained()
    whole = transferred(settings)
    before = weights(whole)
    fit(whole, images, watch, saver(tmp_path / "last.ckpt", after=1), epochs=4)
    resumed = transferred(settings)
    torch.manual_seed(101)
    fit(resumed, images, epochs=4, resume=tmp_path / "last.ckpt")
    assert same(weights(resumed), weights(whole))
    for epoch, after in enumerate(watch.after):
        trained = LAYERS[6 - epoch :] if settings.unfreeze_epochs else LAYERS[1:]
        moved = [
            name for name in LAYERS if not torch.equal(after[f"{name}.weight"], before[f"{name}.weight"])
        ]
        assert moved == watch.training[epoch] == trained, epoch
