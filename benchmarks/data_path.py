"""Images per second of a whole stage run against the bare training step on the same tensors.

    python -m benchmarks.data_path                               # dld: 32 px, enlarged on the device
    python -m benchmarks.data_path --stage natural --rounds 5
    python -m benchmarks.data_path --override data.image_size=224

Each round trains one fresh stage run as `train.py` does, with its data path, callbacks, evaluation, W&B
offline and its files, and then repeats the bare training step (forward, loss, backward, fused SGD step) as
often, on batches that are already preprocessed in memory. Rounds interleave the two, so that a busy machine
slows both; ratios are medians over the rounds. `epochs` counts the program's training epochs only, `run`
everything from the first training step to the record.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from torch.nn import functional

from datamodules.listing import list_source
from datamodules.splits import Division
from datamodules.stage_run import load_run, stage_data
from lightning_modules.resolve import resolve
from lightning_modules.start import build_module
from stages.config import Config, source_of, to_config
from stages.planner import build_plan
from stages.recipe import Recipe
from stages.request import Request
from stages.seeds import Seeds
from stages.store import Store
from train import run_job

_CONF = Path(__file__).resolve().parent.parent / "conf"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", default="dld")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--override", nargs="*", default=[])
    arguments = parser.parse_args()
    Plugins.instance()  # registers the configuration's schema
    epochs = arguments.epochs
    overrides = [
        f"+stage={arguments.stage}",
        "callbacks.progress=false",
        f"callbacks.plateau.max_epochs={epochs}",
        f"callbacks.plateau.length={epochs}",
        *arguments.override,
    ]
    of_epochs, of_run = [], []
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(_CONF), version_base="1.3"):
        for seed in range(arguments.rounds):
            config = to_config(compose("train", [*overrides, f"seed={seed}"]))
            config = replace(config, paths=replace(config.paths, runs_dir=folder))
            epochs_speed, run_speed, recipe = program(config)
            bare_speed = bare(config, recipe, epochs)
            of_epochs.append(epochs_speed / bare_speed)
            of_run.append(run_speed / bare_speed)
            speeds = f"epochs {epochs_speed:.1f}, run {run_speed:.1f}, bare {bare_speed:.1f} images/s"
            print(f"round {seed + 1}: {speeds}", flush=True)
    print(f"epochs / bare: {statistics.median(of_epochs):.3f} ({min(of_epochs):.3f} to {max(of_epochs):.3f})")
    print(f"run / bare:    {statistics.median(of_run):.3f} ({min(of_run):.3f} to {max(of_run):.3f})")


def program(config: Config) -> tuple[float, float, Recipe]:
    """Train a stage run as `train.py` does; training images per second of its epochs and of all of it."""
    plan = build_plan([Request.of(config)], lambda *_: config, list_source, resolve)
    (run,) = plan.runs.values()
    outcome = run_job(run.job_config)
    assert outcome.status == "trained", outcome.message
    record = Store(Path(run.config.paths.runs_dir)).folder(run.stage, run.id).read_record()
    images = sum(record.data.train_counts) * record.epochs
    return record.cost.images_per_second, images / record.cost.seconds, run.recipe


def bare(config: Config, recipe: Recipe, epochs: int) -> float:
    """Images per second of the training step alone, on one epoch's batches made ready beforehand."""
    seeds = Seeds.of(recipe.seed)
    data = stage_data(
        load_run(list_source(source_of(config)), config, Division.of(recipe)), recipe, seeds, workers=0
    )
    module = build_module(recipe, seeds, data.train_counts, None)
    network = module.network.train()
    (optimiser,), _ = module.configure_optimizers()
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    low_precision = recipe.arithmetic.precision == "bf16-mixed"
    images = 0
    start = time.perf_counter()
    for _ in range(epochs):
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
                loss = functional.cross_entropy(network(batch.images), batch.labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            images += len(batch.labels)
    return images / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
