"""The LightningModule trained through Lightning, against gradient descent written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from callbacks import AtomicCheckpointIO
from lightning_modules.alexnet import AlexNet
from lightning_modules.batch_loss import Batch
from lightning_modules.classifier import StageModule
from lightning_modules.transfer import TransferReport, apply_transfer, scratch_report
from lightning_modules.transfer_rule import TransferRule
from stages.errors import RelayError
from stages.recipe import Optim
from tests.helpers import plain_optim

# Lightning 2.6 makes a LeafSpec, which torch 2.9 and later warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")

CLASSES, PIXELS = 3, 4


def optim(
    lr: float = 0.1,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    gradient_clip: float | None = None,
    ema_decay: float | None = None,
) -> Optim:
    return replace(
        plain_optim.PLAIN,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        warmup_steps=warmup_steps,
        ema_decay=ema_decay,
        gradient_clip=gradient_clip,
    )


PLAIN = optim()
Weights = Mapping[str, Tensor]


class Loader:
    """Given batches; a bare list would be several loaders to Lightning."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class Data(pl.LightningDataModule):
    """Two given lists of batches."""

    def __init__(self, train: list[Batch], val: list[Batch]) -> None:
        super().__init__()
        self.train, self.val = train, val

    def train_dataloader(self) -> Loader:
        return Loader(self.train)

    def val_dataloader(self) -> Loader:
        return Loader(self.val)


class Linear(nn.Module):
    """Softmax regression, whose gradient is a line of algebra."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * PIXELS, CLASSES)
        values = torch.linspace(-0.5, 0.5, CLASSES * 3 * PIXELS, dtype=torch.float64).sin()
        with torch.no_grad():
            self.layer.weight.copy_(values.reshape(CLASSES, -1))
            self.layer.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


class Watch(Callback):
    """Writes down, at each epoch's end, what the other callbacks read there; calls back."""

    def __init__(
        self, at_end: Callable[[pl.Trainer, StageModule], None] = lambda trainer, module: None
    ) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.at_end = at_end

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.losses.append(pl_module.train_loss)
        self.at_end(trainer, pl_module)


def batches(sizes: tuple[int, ...], side: int = 2, seed: int = 0) -> list[Batch]:
    random = np.random.default_rng(seed)
    made, start = [], 0
    for size in sizes:
        images = torch.from_numpy(random.normal(size=(size, 3, side, side)).astype(np.float32))
        labels = torch.from_numpy(random.integers(CLASSES, size=size))
        made.append(Batch(images, labels, torch.arange(start, start + size), torch.zeros_like(labels)))
        start += size
    return made


def linear_module(optimisation: Optim = PLAIN, weights: Sequence[float] | None = None) -> StageModule:
    report = TransferReport("none", None, (), ("layer.weight", "layer.bias"))
    return StageModule(Linear(), report, optimisation, dropout_seed=0, class_weights=weights)


def fit(
    module: StageModule, data: Data, *watchers: Callback, epochs: int = 2, resume: Path | None = None
) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(watchers),
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        deterministic=True,
    )
    trainer.fit(module, data, ckpt_path=resume)
    return trainer


def weights(module: StageModule) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.network.state_dict().items()}


def same(one: Weights, two: Weights) -> bool:
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


def softmax_regression(
    data: list[Batch], optimisation: Optim, epochs: int, of_class: Sequence[float] = (1.0,) * CLASSES
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Weights, biases and mean losses in float64.

    By the formulas in the documentation of torch.optim.SGD and of torch.nn.CrossEntropyLoss, whose weighted
    mean divides by the sum of the images' weights.
    """
    start = Linear().layer
    values = {
        "weight": start.weight.detach().double().numpy().copy(),
        "bias": start.bias.detach().double().numpy().copy(),
    }
    velocity: dict[str, Any] = {"weight": None, "bias": None}
    losses, step = [], 0
    for _ in range(epochs):
        total, weight_seen = 0.0, 0.0
        for batch in data:
            images = batch.images.flatten(1).double().numpy()
            scores = images @ values["weight"].T + values["bias"]
            powers = np.exp(scores)
            shares = powers / powers.sum(axis=1, keepdims=True)
            truth = np.eye(CLASSES)[batch.labels.numpy()]
            weight = np.asarray(of_class)[batch.labels.numpy()]
            total -= float((weight * np.log((shares * truth).sum(axis=1))).sum())
            weight_seen += weight.sum()
            error = (shares - truth) * (weight / weight.sum())[:, None]
            gradients = {"weight": error.T @ images, "bias": error.sum(axis=0)}
            warm = optimisation.warmup_steps
            rate = optimisation.lr * (min(1.0, (step + 1) / warm) if warm else 1.0)
            for name, gradient in gradients.items():
                pull = gradient + optimisation.weight_decay * values[name]
                before = velocity[name]
                velocity[name] = pull if before is None else optimisation.momentum * before + pull
                values[name] = values[name] - rate * velocity[name]
            step += 1
        losses.append(total / weight_seen)
    return values["weight"], values["bias"], losses


@pytest.mark.parametrize(
    "optimisation",
    [
        PLAIN,
        optim(lr=0.1, momentum=0.9, weight_decay=0.0, warmup_steps=0),
        optim(lr=0.2, momentum=0.0, weight_decay=0.1, warmup_steps=0),
        optim(lr=0.05, momentum=0.9, weight_decay=0.01, warmup_steps=4),
    ],
    ids=["plain", "momentum", "weight decay", "all, with warm-up"],
)
def test_steps_are_momentum_descent_and_the_loss_is_the_mean_over_images(optimisation: Optim) -> None:
    train = batches((4, 4, 1))  # the last batch counts for one image, not for a third of the epoch
    module, watch = linear_module(optimisation), Watch()
    fit(module, Data(train, batches((2,))), watch)
    weight, bias, losses = softmax_regression(train, optimisation, epochs=2)
    trained = weights(module)
    np.testing.assert_allclose(trained["layer.weight"].numpy(), weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(trained["layer.bias"].numpy(), bias, rtol=1e-5, atol=1e-6)
    assert watch.losses == pytest.approx(losses, rel=1e-5)


def test_class_weights_weigh_the_steps_and_the_loss_of_the_epoch() -> None:
    """The last batch is of one image: it counts by its weight, not as a third of the epoch."""
    train, of_class = batches((4, 4, 1)), (0.4, 1.0, 3.0)
    module, watch = linear_module(weights=of_class), Watch()
    fit(module, Data(train, batches((2,))), watch)
    weight, bias, losses = softmax_regression(train, PLAIN, 2, of_class)
    trained = weights(module)
    np.testing.assert_allclose(trained["layer.weight"].numpy(), weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(trained["layer.bias"].numpy(), bias, rtol=1e-5, atol=1e-6)
    assert watch.losses == pytest.approx(losses, rel=1e-5)
    assert losses != pytest.approx(softmax_regression(train, PLAIN, 2)[2], rel=1e-2)


def test_a_weighted_step_has_the_gradient_of_torchs_loss() -> None:
    (batch,), of_class = batches((5,)), (0.4, 1.0, 3.0)
    gradients: list[Tensor] = []
    module = linear_module(weights=of_class)
    module.network.layer.weight.register_hook(lambda gradient: gradients.append(gradient.clone()))
    fit(module, Data([batch], batches((2,))), epochs=1)
    layer = Linear()
    nn.CrossEntropyLoss(weight=torch.tensor(of_class))(layer(batch.images), batch.labels).backward()
    torch.testing.assert_close(gradients, [layer.layer.weight.grad])


def test_class_weights_are_not_in_a_checkpoint() -> None:
    """A resumed run takes them from its recipe and its images."""
    assert linear_module(weights=(0.4, 1.0, 3.0)).state_dict().keys() == linear_module().state_dict().keys()


@pytest.mark.parametrize("of_class", [None, (0.4, 1.0, 3.0)], ids=["alike", "weighted"])
def test_the_shares_of_several_processes_make_up_the_loss_of_the_batch(
    of_class: Sequence[float] | None,
) -> None:
    """DDP averages gradients: three processes with 2, 1 and 1 images, the last a repeat to even them out."""
    (whole,) = batches((3,), seed=3)
    rows = ([0, 1], [2], [0])
    shares = [Batch(*(part[positions] for part in whole)) for positions in rows]
    shares[2] = shares[2]._replace(draws=torch.tensor([-1]))
    weight = torch.ones(CLASSES) if of_class is None else torch.tensor(of_class)
    of_share = [weight[whole.labels[:2]].sum(), weight[whole.labels[2]], torch.tensor(0.0)]
    gradients, losses = [], []
    for share in shares:
        module = linear_module(weights=of_class)
        loss = module.loss(module(share.images), share, torch.stack(of_share).sum() / 3)
        loss.backward()
        gradients.append(module.network.layer.weight.grad)
        losses.append(module.loss.sums)
    layer = Linear()
    expected = nn.CrossEntropyLoss(weight=weight)(layer(whole.images), whole.labels)
    expected.backward()
    torch.testing.assert_close(torch.stack(gradients).mean(dim=0), layer.layer.weight.grad)
    total, weighed = torch.stack(losses).sum(dim=0)
    assert float(total / weighed) == pytest.approx(float(expected.detach()))


def test_the_rate_rises_by_steps_over_the_warm_up() -> None:
    watch = Watch()
    optimisation = optim(lr=0.08, momentum=0.9, weight_decay=0.0, warmup_steps=4)
    fit(linear_module(optimisation), Data(batches((2, 2, 2)), batches((2,))), watch)
    assert watch.rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.08, 0.08], rel=1e-12)


def test_without_warm_up_the_rate_is_constant() -> None:
    watch = Watch()
    fit(linear_module(), Data(batches((2, 2)), batches((2,))), watch)
    assert watch.rates == [0.1] * 4


def test_warm_up_goes_on_in_a_resumed_run(tmp_path: Path) -> None:
    optimisation = optim(lr=0.08, momentum=0.9, weight_decay=0.0, warmup_steps=4)
    data, watch = Data(batches((2, 2, 2)), batches((2,))), Watch()
    fit(linear_module(optimisation), data, saver(tmp_path / "last.ckpt"))
    fit(linear_module(optimisation), data, watch, resume=tmp_path / "last.ckpt")
    assert watch.rates == pytest.approx([0.08, 0.08, 0.08])


def saver(path: Path, after: int = 0) -> Watch:
    """Saves after an epoch, in the hook in which the resume checkpoint is written."""

    def save(trainer: pl.Trainer, module: StageModule) -> None:
        if trainer.current_epoch == after:
            trainer.save_checkpoint(path)

    return Watch(save)


def alexnet_module(dropout_seed: int = 5) -> StageModule:
    network = AlexNet(CLASSES, width=1 / 16, seed=1)
    optimisation = optim(lr=0.05, momentum=0.9, weight_decay=0.001, warmup_steps=2)
    return StageModule(network, scratch_report(network), optimisation, dropout_seed)


@pytest.fixture(scope="module")
def images() -> Data:
    return Data(batches((4, 4, 2), side=63, seed=1), batches((4, 3), side=63, seed=2))


@pytest.fixture(scope="module")
def uninterrupted(images: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Path]:
    """Weights after two epochs, and the checkpoint after the first."""
    path = tmp_path_factory.mktemp("uninterrupted") / "last.ckpt"
    module = alexnet_module()
    torch.manual_seed(99)
    fit(module, images, saver(path))
    return weights(module), path


Uninterrupted = tuple[dict[str, Tensor], Path]


def test_a_second_run_has_the_same_bits(images: Data, uninterrupted: Uninterrupted) -> None:
    module = alexnet_module()
    torch.manual_seed(100)  # whatever was drawn before
    fit(module, images)
    assert same(weights(module), uninterrupted[0])


def test_a_resumed_run_has_the_same_bits(images: Data, uninterrupted: Uninterrupted) -> None:
    module = alexnet_module()
    torch.manual_seed(101)
    fit(module, images, resume=uninterrupted[1])
    assert same(weights(module), uninterrupted[0])


def test_another_dropout_seed_gives_other_weights(images: Data, uninterrupted: Uninterrupted) -> None:
    module = alexnet_module(dropout_seed=6)
    fit(module, images)
    assert not same(weights(module), uninterrupted[0])


def test_each_epoch_drops_other_units_and_evaluation_drops_none() -> None:
    masks: list[tuple[bool, Tensor]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        masks.append((layer.training, output == 0))

    module = alexnet_module()
    module.network.drop6 = nn.Dropout(0.5)
    module.network.drop6.register_forward_hook(note)
    module.network.drop6.register_forward_pre_hook(lambda layer, inputs: torch.ones_like(inputs[0]))
    fit(module, Data(batches((2,), side=63), batches((2,), side=63)))
    training = [mask for dropping, mask in masks if dropping]
    evaluation = [mask for dropping, mask in masks if not dropping]
    assert len(training) == len(evaluation) == 2
    assert not torch.equal(*training)
    assert 0.3 < float(training[0].float().mean()) < 0.7
    assert not any(bool(mask.any()) for mask in evaluation)


EARLY = ("conv1", "conv2", "conv3")
FINETUNE = TransferRule("finetune", ("fc7", "fc8"), frozen=(*EARLY, "conv4", "conv5", "fc6"))
FREEZE_EARLY = TransferRule("freeze_early", ("fc7", "fc8"), frozen=EARLY)


def frozen_module(parent: AlexNet, rule: TransferRule) -> StageModule:
    network = AlexNet(CLASSES, width=1 / 16, seed=8)
    report = apply_transfer(
        network, parent.state_dict(), rule, scheme="lecun_normal", seed=8, source="a parent"
    )
    optimisation = optim(lr=0.05, momentum=0.9, weight_decay=0.1, warmup_steps=0)
    return StageModule(network, report, optimisation, dropout_seed=3)


@pytest.mark.parametrize("rule", [FINETUNE, FREEZE_EARLY], ids=["finetune", "freeze_early"])
def test_frozen_parameters_keep_their_bits_also_when_resumed(
    images: Data, tmp_path: Path, rule: TransferRule
) -> None:
    parent = AlexNet(7, width=1 / 16, seed=7)
    before = {name: value.clone() for name, value in parent.state_dict().items()}
    module = frozen_module(parent, rule)
    start = weights(module)
    fit(module, images, saver(tmp_path / "last.ckpt"))
    resumed = frozen_module(parent, rule)
    fit(resumed, images, resume=tmp_path / "last.ckpt")
    for trained in (weights(module), weights(resumed)):
        for name, value in trained.items():
            if name.startswith(rule.frozen):
                assert torch.equal(value, before[name]), name
            else:
                assert not torch.equal(value, start[name]), name
    assert same(weights(module), weights(resumed))


def test_predictions_stand_in_the_order_of_the_set_each_image_once() -> None:
    (whole,) = batches((6,), seed=4)
    order = [[4, 1], [5, 0, 2], [3, 4]]  # image 4 twice, as where processes even out their shares
    val = [Batch(*(part[positions] for part in whole)) for positions in order]
    module = linear_module(optim(lr=1e-30, momentum=0.0, weight_decay=0.0, warmup_steps=0))
    fit(module, Data(batches((2,)), val), epochs=1)
    assert module.predictions is not None and module.evaluation is not None
    assert module.predictions.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(module.predictions.labels, whole.labels)
    with torch.no_grad():
        expected = Linear()(whole.images)
    torch.testing.assert_close(module.predictions.logits, expected)
    right = (expected.argmax(dim=1) == whole.labels).double().mean()
    assert module.evaluation.metrics["accuracy"] == pytest.approx(float(right))
    assert sum(map(sum, module.evaluation.confusion_matrix)) == 6


def test_an_evaluation_forgets_the_one_before() -> None:
    module, data = linear_module(), Data(batches((2, 2)), batches((3,), seed=5))
    trainer = fit(module, data)
    first = module.predictions
    trainer.validate(module, data, verbose=False)
    assert first is not None and module.predictions is not None
    assert torch.equal(first.logits, module.predictions.logits)
    assert len(module.predictions.logits) == 3


def test_a_diverged_run_is_refused_at_the_end_of_its_epoch() -> None:
    module = linear_module(optim(lr=1e38, momentum=0.9, weight_decay=0.0, warmup_steps=0))
    watch = Watch(lambda trainer, module: module.check_finite())
    (blank,) = val = batches((2,))
    blank.images[:] = 0  # finite outputs, whatever the weights
    with pytest.raises(RelayError, match=r"not finite in epoch 2.*optim\.lr_scratch.*gradient_clip"):
        fit(module, Data(batches((2,)), val), watch, epochs=3)
    assert len(watch.losses) == 1 and np.isfinite(watch.losses[0]), "epoch 2 is not evaluated"


def test_outputs_that_are_no_numbers_are_refused_and_not_counted_as_class_0() -> None:
    """As a float16 that runs over gives them while the training loss is finite; argmax of NaN is 0."""
    (good,) = val = batches((3,), seed=5)
    good.images[1] = float("inf")
    with pytest.raises(RelayError, match="outputs for 1 of 3 evaluation images are not finite in epoch 1"):
        fit(linear_module(), Data(batches((2, 2)), val), epochs=1)


def test_a_finite_loss_is_not_refused() -> None:
    watch = Watch(lambda trainer, module: module.check_finite())
    fit(linear_module(), Data(batches((2,)), batches((2,))), watch)
    assert len(watch.losses) == 2


@pytest.mark.parametrize(("clip", "expected"), [(None, 5.0), (1.0, 1.0), (10.0, 5.0)])
def test_the_clip_bounds_the_norm_of_the_whole_gradient(clip: float | None, expected: float) -> None:
    network = nn.Sequential(nn.Linear(1, 1))
    names = tuple(name for name, _ in network.named_parameters())
    report = TransferReport("none", None, kept=(), reinitialised=names)
    settings = optim(lr=0.1, momentum=0.0, weight_decay=0.0, warmup_steps=0, gradient_clip=clip)
    module = StageModule(network, report, settings, dropout_seed=0)
    (optimiser,), _ = module.configure_optimizers()
    # 3 and 4 in two parameters: a bound for each of them alone would leave sqrt(2)
    for parameter, gradient in zip(network.parameters(), (3.0, 4.0), strict=True):
        parameter.grad = torch.full_like(parameter, gradient)
    module.on_before_optimizer_step(optimiser)
    weight, bias = (float(parameter.grad) for parameter in network.parameters() if parameter.grad is not None)
    assert (weight**2 + bias**2) ** 0.5 == pytest.approx(expected, rel=1e-5)
    assert weight / bias == pytest.approx(3.0 / 4.0)
