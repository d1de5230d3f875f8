"""The running mean of the weights: what it is, what is evaluated, and that the training does not notice."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lightning_modules.classifier import StageModule
from lightning_modules.running_mean import first_mean, take_step
from lightning_modules.transfer import TransferReport
from tests.lightning_modules.test_classifier import CLASSES, Data, batches, fit, optim, same, saver, weights

DECAY = 0.3
DATA = Data(batches((4, 4, 3)), batches((3, 2), seed=1))


class Normalised(nn.Module):
    """A frozen layer, batch normalisation, a layer that is trained."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(12, 5)
        self.normal = nn.BatchNorm1d(5)
        self.head = nn.Linear(5, CLASSES)
        self.frozen.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.normal(self.frozen(images.flatten(1))))
        return logits


def module(decay: float | None = DECAY) -> StageModule:
    names = ("normal.weight", "normal.bias", "head.weight", "head.bias")
    frozen = ("frozen.weight", "frozen.bias")
    report = TransferReport("none", None, frozen, names, frozen=frozen)
    return StageModule(Normalised(), report, optim(lr=0.3, momentum=0.9, ema_decay=decay), dropout_seed=0)


class States(Callback):
    """The network's weights and buffers after each step."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *of_batch: Any) -> None:
        self.kept.append(weights(pl_module))


def mean_of(module: StageModule) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.evaluated_network.state_dict().items()}


def test_it_is_the_exponential_mean_and_what_is_evaluated() -> None:
    trained, states = module(), States()
    fit(trained, DATA, states, epochs=3)
    assert len(states.kept) == 9
    expected = {name: value.double() for name, value in states.kept[0].items()}
    for step, state in enumerate(states.kept[1:], start=1):
        decay = min(DECAY, (1 + step) / (10 + step))
        expected = {name: decay * mean + (1 - decay) * state[name] for name, mean in expected.items()}
    found = mean_of(trained)
    assert int(found.pop("normal.num_batches_tracked")) == 9, "a count is not averaged"
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name].float(), rtol=1e-5, atol=1e-7, msg=name)
    for name in ("frozen.weight", "frozen.bias"):
        assert torch.equal(found[name], states.kept[0][name]), "not one bit of what is frozen"
    assert not torch.equal(found["normal.running_mean"], states.kept[-1]["normal.running_mean"])
    network = Normalised().eval()
    network.load_state_dict(mean_of(trained))
    images = torch.cat([batch.images for batch in batches((3, 2), seed=1)])
    assert trained.predictions is not None
    torch.testing.assert_close(trained.predictions.logits, network(images).detach())


def test_the_training_does_not_notice() -> None:
    plain, averaged = module(None), module()
    for each in (plain, averaged):
        fit(each, DATA)
    assert same(weights(plain), weights(averaged))
    assert plain.train_loss == averaged.train_loss
    assert plain.evaluated_network is plain.network
    assert plain.state_dict().keys() == {f"network.{name}" for name in weights(plain)}


def test_a_resumed_run_has_the_same_mean(tmp_path: Path) -> None:
    whole, resumed = module(), module()
    fit(whole, DATA, saver(tmp_path / "last.ckpt"), epochs=3)
    fit(resumed, DATA, epochs=3, resume=tmp_path / "last.ckpt")
    assert same(mean_of(whole), mean_of(resumed))
    assert whole.predictions is not None and resumed.predictions is not None
    assert torch.equal(whole.predictions.logits, resumed.predictions.logits)


def test_it_is_torchs_own_to_the_bit_and_its_number_is_not_asked_of_the_device() -> None:
    """`AveragedModel` with the same decay; on the device `meta` no value can be read."""
    network = Normalised()

    def torchs(means: Any, values: Any, steps: Any) -> None:
        kept = min(DECAY, (1 + float(steps)) / (10 + float(steps)))
        for of_mean, of_network in zip(means, values, strict=True):
            if of_mean.is_floating_point():
                of_mean.lerp_(of_network, 1 - kept)
            else:
                of_mean.copy_(of_network)

    expected, mean = AveragedModel(network, multi_avg_fn=torchs, use_buffers=True), first_mean(network)
    abstract = Normalised().to("meta")
    mean_of_abstract = first_mean(abstract)
    for step in range(6):
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.add_(1 + step)
        expected.update_parameters(network)
        take_step(mean, network, step, DECAY)
        assert same(mean.state_dict(), expected.module.state_dict()), step
        take_step(mean_of_abstract, abstract, step, DECAY)


@pytest.mark.parametrize("prepare", [lambda network: network.compile(), lambda network: network.bfloat16()])
def test_of_a_network_that_compiles_or_has_another_type(prepare: Any) -> None:
    network = Normalised()
    prepare(network)
    mean = first_mean(network)
    for step in range(3):
        take_step(mean, network, step, DECAY)
    assert same(mean.state_dict(), network.state_dict()), "equal weights are their own mean, to the bit"
    assert not any(parameter.requires_grad for parameter in mean.parameters())
