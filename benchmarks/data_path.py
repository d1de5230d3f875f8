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
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins

from benchmarks.training_step import program, ready_for, step_speed
from stages.config import to_config

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
            bare_speed = step_speed(ready_for(config, recipe), epochs)
            of_epochs.append(epochs_speed / bare_speed)
            of_run.append(run_speed / bare_speed)
            speeds = f"epochs {epochs_speed:.1f}, run {run_speed:.1f}, bare {bare_speed:.1f} images/s"
            print(f"round {seed + 1}: {speeds}", flush=True)
    print(f"epochs / bare: {statistics.median(of_epochs):.3f} ({min(of_epochs):.3f} to {max(of_epochs):.3f})")
    print(f"run / bare:    {statistics.median(of_run):.3f} ({min(of_run):.3f} to {max(of_run):.3f})")


if __name__ == "__main__":
    main()
