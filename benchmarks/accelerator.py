"""One table of what this project claims of speed and of equal bits, measured where it runs: minutes on a GPU.

    python -m benchmarks.accelerator                    # the table, on standard output
    python -m benchmarks.accelerator --out table.md     # and in a file
    python -m benchmarks.accelerator --small            # small sizes: taken anyway without a GPU

Speeds are images per second, medians over rounds that interleave what is compared. Each row names what it is
divided by; rounds after the first find the device warm. The checks train small stage runs by the command
line, as a user does.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from torch import nn

from analysis.explain import backward, load_network
from analysis.prediction.ensemble import load_ensemble
from benchmarks.same_bits import checks
from benchmarks.training_step import (
    Ready,
    batches_of,
    best_device,
    data_of,
    program,
    ready_for,
    speed,
    step_speed,
)
from lightning_modules.lrn import LocalResponseNorm
from stages.config import Config, to_config
from stages.environment import device_name, package_versions
from stages.recipe import Recipe
from stages.store import Store

_CONF = Path(__file__).resolve().parent.parent / "conf"
NETWORKS = {
    "AlexNet": ("model=alexnet", "model.width=1"),
    "resnet18": ("model=timm", "model.architecture=resnet18"),
}


@dataclass(frozen=True)
class Size:
    """How large what is measured is: pixels, images of a batch and of an epoch, epochs, rounds."""

    pixels: int
    batch: int
    images: int
    epochs: int
    rounds: int


FULL, SMALL = Size(224, 128, 6400, 2, 3), Size(64, 16, 64, 1, 1)


@dataclass(frozen=True)
class Row:
    """One line of the table; `ratio` is to what `against` names, None where the value stands alone."""

    what: str
    speed: float
    against: str = ""
    ratio: float | None = None


def main(typed: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(typed)
    small = given.small or not torch.cuda.is_available()
    began = time.perf_counter()
    Plugins.instance()  # registers the configuration's schema
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(_CONF), version_base="1.3"):
        rows = [row for name in given.networks for row in measured(name, SMALL if small else FULL, folder)]
        found = checks(Path(folder) / "checks")
    text = "\n".join(page(rows, found, time.perf_counter() - began))
    print(text)
    if given.out:
        given.out.write_text(text + "\n")
    sys.exit(0 if all(holds for _, holds in found) else 1)


def page(rows: Sequence[Row], found: Sequence[tuple[str, bool]], seconds: float) -> Iterator[str]:
    """The table as Markdown, line by line."""
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    versions = package_versions()
    yield f"{device_name(accelerator)}, torch {versions['torch']}, {seconds:.0f} s in all"
    yield ""
    yield "| what | images/s | against | ratio |"
    yield "|---|---|---|---|"
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        yield f"| {row.what} | {row.speed:.1f} | {row.against} | {ratio} |"
    yield ""
    yield "| check | holds |"
    yield "|---|---|"
    for what, holds in found:
        yield f"| {what} | {'yes' if holds else '**no**'} |"


def measured(name: str, size: Size, folder: str) -> Iterator[Row]:
    """All rows of one network."""
    rounds: list[dict[str, float]] = []
    for seed in range(size.rounds):
        config = _config(name, size, folder, seed)
        of_epochs, _, recipe = program(config)
        ready = ready_for(config, recipe)
        speeds = {"program": of_epochs, "step": step_speed(ready, size.epochs)}
        speeds["data"] = data_speed(config, recipe)
        if without_normalisation(ready.network):
            speeds["without"] = step_speed(ready, size.epochs)
        del ready  # an epoch of images
        with not_deterministic():
            speeds["plain"] = step_speed(plain(config, recipe), size.epochs)
        speeds.update(answers(Path(folder), recipe, size))
        rounds.append(speeds)

    def row(what: str, key: str, against: str = "", base: str = "") -> Row:
        ratios = [each[key] / each[base] for each in rounds] if base else []
        return Row(
            f"{name}, {size.pixels} px: {what}",
            statistics.median(each[key] for each in rounds),
            against,
            statistics.median(ratios) if ratios else None,
        )

    yield row("training in the program", "program", "the bare step", "step")
    yield row(
        "bare step: same tensors, precision, format, fused optimiser", "step", "PyTorch as it comes", "plain"
    )
    yield row("PyTorch as it comes: float32, contiguous, any algorithm, no clipping", "plain")
    if "without" in rounds[0]:
        yield row("bare step without normalisation", "without")
        yield row("bare step", "step", "the one without normalisation", "without")
    yield row("batches made, no training", "data", "the bare step", "step")
    yield row("maps, desalinet, by batches", "maps", "one image at a time, whole gradient", "loop")
    yield row("prediction, float32", "ensemble", "a loop of forward passes", "forward")


def _config(name: str, size: Size, folder: str, seed: int) -> Config:
    overrides = [
        "+stage=natural", *NETWORKS[name], f"seed={seed}", f"data.image_size={size.pixels}",
        f"optim.batch_size={size.batch}", f"data.domains.natural.train_images={size.images}",
        f"data.domains.natural.val_images={size.batch}", "callbacks.progress=false", "logger.wandb=disabled",
        f"callbacks.plateau.max_epochs={size.epochs}", f"callbacks.plateau.length={size.epochs}",
        f"paths.cache_dir={folder}/cache",
    ]  # fmt: skip
    config = to_config(compose("train", overrides))
    return replace(config, paths=replace(config.paths, runs_dir=folder))


def plain(config: Config, recipe: Recipe) -> Ready:
    """The same network as one starts with it: float32, contiguous, torch's own normalisation and SGD."""
    ready = ready_for(config, recipe)
    network = ready.network.to(memory_format=torch.contiguous_format)
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, LocalResponseNorm):
                setattr(parent, name, nn.LocalResponseNorm(child.size, child.alpha, child.beta, child.k))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images = [each.contiguous(memory_format=torch.contiguous_format) for each in ready.images]
    return Ready(network, optimiser, images, ready.labels, "32-true")


@contextmanager
def not_deterministic() -> Iterator[None]:
    """Any algorithm, as torch chooses them when nobody asks; the program has asked before."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def without_normalisation(network: nn.Module) -> bool:
    """Take local response normalisation out of a network; whether there was any."""
    found = [
        (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, LocalResponseNorm)
    ]
    for parent, name in found:
        setattr(parent, name, nn.Identity())
    return bool(found)


def data_speed(config: Config, recipe: Recipe) -> float:
    """Images per second of an epoch's batches, to what the network is given, without a network."""
    data, device = data_of(config, recipe), best_device()

    def run() -> None:
        for _ in batches_of(data, device):
            pass

    return speed(run, data.epoch_images, 1)


def answers(store: Path, recipe: Recipe, size: Size) -> dict[str, float]:
    """Images per second of maps and of predictions by the run's network, and of the loops one writes."""
    device = best_device()
    folder = Store(store).folder(recipe.stage, recipe.id)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0, 256, (size.batch, size.pixels, size.pixels, 3), generator=generator, dtype=torch.uint8
    )
    images = (pixels.permute(0, 3, 1, 2).float() / 255).to(device)
    network = load_network(folder.path).to(device)
    ensemble = load_ensemble([folder], device)

    def loop() -> None:
        for image in images[: max(4, size.batch // 8)]:
            variable = image[None].clone().requires_grad_()
            network(variable).max().backward()

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, len(images), 32):
                network(ensemble.members[0].preprocess(pixels[start : start + 32].to(device))).cpu()

    return {
        "maps": speed(lambda: backward(network, images), len(images), 1),
        "loop": speed(loop, max(4, size.batch // 8), 1),
        "ensemble": speed(lambda: ensemble.logits(pixels), len(images), 1),
        "forward": speed(forward, len(images), 1),
    }


if __name__ == "__main__":
    main()
