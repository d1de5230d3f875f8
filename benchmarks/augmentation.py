"""What augmentation costs: a training step with it as a ratio of the same step without.

    python -m benchmarks.augmentation                      # one thread, 32 px made 64, width 0.25
    python -m benchmarks.augmentation --size 224 --native 224 --width 1 --batch 32 --colour

A step is preprocessing, and that of `benchmarks.training_step` with fused SGD. Rounds take every kind in
turn, so that a busy machine slows all; ratios are medians over the rounds.
"""

import argparse
import time
from statistics import median

import torch

from benchmarks.training_step import best_device, step
from datamodules.batches.preprocess import Preprocess
from lightning_modules.alexnet import AlexNet
from stages.recipe import Distortions

KINDS = {
    "none": Distortions(),
    "rotation, crop": Distortions(rotation=(-10, 10), crop=(0.8, 1)),
    "brightness, contrast": Distortions(brightness=10, contrast=0.1),
    "noise": Distortions(noise=5),
    "all of them": Distortions(rotation=(-10, 10), crop=(0.8, 1), brightness=10, contrast=0.1, noise=5),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("size", 64), ("native", 32), ("batch", 64), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--colour", action="store_true")
    given = parser.parse_args()
    device = best_device()
    torch.set_num_threads(1)
    shape = (given.batch, given.native, given.native, *((3,) if given.colour else ()))
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(device)
    labels = torch.randint(0, 7, (given.batch,)).to(device)
    network = AlexNet(7, width=given.width, seed=0).to(device).train()
    descent = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, fused=True)
    made = {
        kind: Preprocess(given.size, (0.5,) * 3, (0.25,) * 3, distortions=drawn)
        for kind, drawn in KINDS.items()
    }

    def seconds(prepare: Preprocess, seed: int) -> float:
        began = time.perf_counter()
        step(network, descent, prepare(images, seed), labels).item()  # waits for the device
        return time.perf_counter() - began

    rounds = [{kind: seconds(made[kind], number) for kind in made} for number in range(given.rounds + 1)][1:]
    for kind in made:
        ratios = sorted(each[kind] / each["none"] for each in rounds)
        print(f"{kind:<22} {median(ratios):.2f} times the step without ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
