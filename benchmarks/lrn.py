"""Images per second of AlexNet's training step, by its local response normalisation.

    python -m benchmarks.lrn                          # 224 px, batch 64, 1000 classes
    python -m benchmarks.lrn --compile --rounds 3
    python -m benchmarks.lrn --size 96 --batch 32 --classes 10 --variants lrn none

Timed: forward, loss, backward, fused SGD step with momentum and clearing of the gradients, on one batch that
is already in memory. Not timed: construction, warm-up, compilation. Each variant has a process of its own,
because how freed memory is handled is a setting of a process. They take turns within a round, one at a time,
so that a busy machine slows all of them; the table gives the median of the rounds, and ratios are medians of
the ratios within a round.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch.nn import functional

from lightning_modules.alexnet import AlexNet, Normalisation
from stages.machine.memory import keep_freed_memory

Clock = Callable[[], float]

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`wall` is what a user waits; `cpu`, the sum over threads, is fair on a machine that others use too."""


@dataclass(frozen=True)
class Variant:
    """One way of running the training step."""

    description: str
    normalisation: Normalisation
    low_precision: bool  # bfloat16 autocast
    channels_last: bool
    compiled: bool = False
    keeps_memory: bool = True  # as train.py; otherwise as the C library


VARIANTS = {
    "lrn": Variant("LocalResponseNorm of this project, bfloat16, NHWC", "lrn", True, True),
    "torch_lrn": Variant(
        "torch.nn.LocalResponseNorm, float32, NCHW, PyTorch as it comes",
        "torch_lrn",
        False,
        False,
        keeps_memory=False,
    ),
    "torch_lrn_memory": Variant("as the last, freed memory kept", "torch_lrn", False, False),
    "none": Variant("no normalisation, bfloat16, NHWC", "none", True, True),
    "compiled": Variant("as lrn, with torch.compile", "lrn", True, True, compiled=True),
    "none_compiled": Variant("as none, with torch.compile", "none", True, True, compiled=True),
    "lrn_float32": Variant("LocalResponseNorm of this project, float32, NCHW", "lrn", False, False),
}


DEFAULT = ["lrn", "torch_lrn", "torch_lrn_memory", "none"]


def training_step(
    variant: Variant, *, size: int, batch: int, classes: int, device: torch.device, clock: Clock
) -> Callable[[], float]:
    """A function that runs one training step and returns its seconds.

    Args:
        variant: network, precision and memory format.
        size: height and width of the images in pixels.
        batch: images in a step.
        classes: outputs of the network.
        device: where to run.
        clock: see `CLOCKS`.
    """
    memory_format = torch.channels_last if variant.channels_last else torch.contiguous_format
    network = AlexNet(classes, normalisation=variant.normalisation, seed=0)
    network = network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)
    random = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, size, size, generator=random).to(device, memory_format=memory_format)
    labels = torch.randint(classes, (batch,), generator=random).to(device)
    forward = torch.compile(network, fullgraph=True) if variant.compiled else network

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def step() -> float:
        synchronise()
        start = clock()
        with torch.autocast(device.type, torch.bfloat16, enabled=variant.low_precision):
            loss = functional.cross_entropy(forward(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        synchronise()
        return clock() - start

    return step


@dataclass(frozen=True)
class Workload:
    """What every variant does: `steps` steps a turn on `batch` images of `size` pixels."""

    size: int
    batch: int
    classes: int
    steps: int
    device: str
    clock: str


def serve(connection: Connection, variant: Variant, workload: Workload) -> None:
    """A variant's process: after a warm-up, answer each request with the mean seconds of its steps."""
    if variant.keeps_memory:
        keep_freed_memory()
    step = training_step(
        variant,
        size=workload.size,
        batch=workload.batch,
        classes=workload.classes,
        device=torch.device(workload.device),
        clock=CLOCKS[workload.clock],
    )
    for _ in range(2):
        step()
    connection.send(None)
    while connection.recv():
        connection.send(statistics.fmean(step() for _ in range(workload.steps)))


def measure(names: Sequence[str], workload: Workload, rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each variant, a value a round; within a round the variants take turns.

    Args:
        names: keys of `VARIANTS`.
        workload: what each does.
        rounds: how often every variant has its turn.
    """
    context = multiprocessing.get_context("spawn")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        connections = {}
        for name in names:
            connection, other = context.Pipe()
            stack.enter_context(connection)
            process = context.Process(target=serve, args=(other, VARIANTS[name], workload), daemon=True)
            process.start()
            other.close()
            stack.callback(process.join)
            stack.callback(connection.send, False)
            connection.recv()
            connections[name] = connection
        for _ in range(rounds):
            for name, connection in connections.items():
                connection.send(True)
                seconds[name].append(connection.recv())
    return seconds


def table(seconds: dict[str, list[float]], batch: int) -> str:
    """A Markdown table: images per second, their range over the rounds, and the speed of lrn over each.

    Args:
        seconds: as `measure` returns them.
        batch: images in a step.
    """
    lines = ["| variant | images/s | range | lrn is faster by |", "|---|---|---|---|"]
    for name, values in seconds.items():
        rates = [batch / value for value in values]
        ratio = "-"
        if "lrn" in seconds and name != "lrn":
            ratios = [other / own for other, own in zip(values, seconds["lrn"], strict=True)]
            ratio = f"{statistics.median(ratios):.2f}x"
        lines.append(
            f"| {VARIANTS[name].description} | {statistics.median(rates):.1f} "
            f"| {min(rates):.1f} to {max(rates):.1f} | {ratio} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=224, help="height and width of the images in pixels")
    parser.add_argument("--batch", type=int, default=64, help="images in a step")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=2, help="steps of a variant in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=DEFAULT)
    parser.add_argument("--compile", action="store_true", help="add lrn and none with torch.compile")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for a busy machine")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    names = [*options.variants, *(["compiled", "none_compiled"] if options.compile else [])]
    workload = Workload(
        options.size, options.batch, options.classes, options.steps, options.device, options.clock
    )
    seconds = measure(list(dict.fromkeys(names)), workload, options.rounds)
    print(
        f"{options.size} px, batch {options.batch}, {options.classes} classes, {options.device}, "
        f"{torch.get_num_threads()} threads, {options.clock} time, torch {torch.__version__}, "
        f"{options.rounds} rounds of {options.steps} steps"
    )
    print(table(seconds, options.batch))


if __name__ == "__main__":
    main()
