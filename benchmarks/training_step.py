"""A stage run in the program, and its bare training step on the same tensors: what benchmarks compare."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from datamodules.batches.loader import Batch
from datamodules.batches.stage_data import StageData
from datamodules.listing import list_source
from datamodules.splits import Division
from datamodules.stage_run import load_run, stage_data
from lightning_modules.optimisation import optimiser
from lightning_modules.resolve import resolve
from lightning_modules.start import build_module
from stages.config import Config, source_of
from stages.planner import build_plan
from stages.recipe import Recipe
from stages.request import Request
from stages.seeds import Seeds
from stages.store import Store
from train import run_job


@dataclass(frozen=True)
class Ready:
    """A stage run's network and its epoch, preprocessed, in the device's memory."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    images: Sequence[Tensor]
    labels: Sequence[Tensor]
    precision: str
    clip: float | None = None


def program(config: Config) -> tuple[float, float, Recipe]:
    """Train a stage run as `train.py` does; training images per second of its epochs and of all of it."""
    plan = build_plan([Request.of(config)], lambda *_: config, list_source, resolve)
    (run,) = plan.runs.values()
    outcome = run_job(run.job_config)
    assert outcome.status == "trained", outcome.message
    record = Store(Path(run.config.paths.runs_dir)).folder(run.stage, run.id).read_record()
    images = sum(record.data.train_counts) * record.epochs
    return record.cost.images_per_second, images / record.cost.seconds, run.recipe


def ready_for(config: Config, recipe: Recipe) -> Ready:
    """The stage run's own network and optimiser, and one epoch's batches as its step gets them."""
    data, device = data_of(config, recipe), best_device()
    module = build_module(recipe, Seeds.of(recipe.seed), data.train_counts, None)
    network = module.network.to(device).train()
    steps = optimiser(network, recipe.optim, fused=module.fused)
    batches = list(batches_of(data, device))
    images, labels = [batch.images for batch in batches], [batch.labels for batch in batches]
    return Ready(network, steps, images, labels, recipe.arithmetic.precision, clip=recipe.optim.gradient_clip)


def batches_of(data: StageData, device: torch.device) -> Iterator[Batch]:
    """An epoch's batches as the network is given them."""
    for batch in data.train_dataloader():
        moved = Batch(*(each.to(device, non_blocking=True) for each in batch))
        yield data.on_after_batch_transfer(moved, 0)


def step_speed(ready: Ready, epochs: int) -> float:
    """Images per second of forward pass, loss, backward pass, clipping and optimiser's step."""

    def run() -> None:
        for images, labels in zip(ready.images, ready.labels, strict=True):
            step(ready.network, ready.optimiser, images, labels, ready.precision, ready.clip)

    return speed(run, sum(map(len, ready.labels)), epochs)


def step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    precision: str = "32-true",
    clip: float | None = None,
) -> Tensor:
    """One step as one writes it in plain PyTorch; its loss."""
    with _arithmetic(precision):
        loss = functional.cross_entropy(network(images), labels)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimiser.step()
    return loss


def speed(run: Callable[[], object], images: int, times: int) -> float:
    """Images per second, after one run that warms up."""
    run()
    _wait()
    began = time.perf_counter()
    for _ in range(times):
        run()
    _wait()
    return images * times / (time.perf_counter() - began)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def best_device() -> torch.device:
    """The GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def data_of(config: Config, recipe: Recipe) -> StageData:
    """The images of a stage run, loaded."""
    domain = load_run(list_source(source_of(config)), config, Division.of(recipe))
    return stage_data(domain, recipe, Seeds.of(recipe.seed), workers=0)


def _arithmetic(precision: str) -> AbstractContextManager[object]:
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    if precision not in kinds:
        return nullcontext()
    return torch.autocast(best_device().type, dtype=kinds[precision])
