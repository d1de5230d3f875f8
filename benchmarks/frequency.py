"""Images per second of a frequency response, against a loop of single images through autograd.

    python -m benchmarks.frequency                    # AlexNet, 224 px, pool5
    OMP_NUM_THREADS=1 python -m benchmarks.frequency --clock cpu

Timed in one run, interleaved rounds: `frequency_response` in float32 and in bfloat16, by the rules
`desalinet` (the default, which passes normalisation by) and `saliency` (the gradient, as autograd gives it),
and two loops, one image at a time in float32: the plain one through the whole network with `backward()`, the
lean one through the layers up to pool5 without gradients of weights.
Also printed: how far the bfloat16 curve is from float32's, as scaled and smoothed for the figure.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import get_args

import torch
from torch import Tensor, nn

from analysis.explain.choices import Precision, Rule
from analysis.explain.frequency import frequency_response, reference_image
from analysis.explain.response_curves import normalised, smoothed
from lightning_modules.alexnet import AlexNet
from stages.machine.memory import keep_freed_memory

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def plain_loop(network: nn.Module, size: int, images: int) -> float:
    """The gain of some reference images, as one writes it: the whole network, all gradients."""
    phi: list[Tensor] = []
    handle = network.get_submodule("pool5").register_forward_hook(lambda *call: phi.append(call[-1]))
    total = 0.0
    for variable in _variables(size, images):
        network(variable)
        (0.5 * phi.pop().square().sum()).backward()  # type: ignore[no-untyped-call]
        assert variable.grad is not None
        total += float(variable.grad.square().sum())
    handle.remove()
    return total


def lean_loop(network: nn.Module, size: int, images: int) -> float:
    """The same with the layers up to pool5 only and no gradient of weights."""
    names = [name for name, _ in network.named_children()]
    features = nn.Sequential(*list(network.children())[: names.index("pool5") + 1])
    total = 0.0
    for variable in _variables(size, images):
        phi = features(variable)
        (gradient,) = torch.autograd.grad(phi, variable, phi.detach())
        total += float(gradient.square().sum())
    return total


def _variables(size: int, images: int) -> Iterator[Tensor]:
    for number in range(images):
        image = reference_image(size, number % (size // 2 + 1), 0.1 * number).float()
        yield image.expand(1, 3, size, size).clone().requires_grad_()


LOOPS = (plain_loop, lean_loop)


def main() -> None:
    """Time, and print images per second and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=2, help="directions in the timed responses")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    given = parser.parse_args()
    keep_freed_memory()
    clock = CLOCKS[given.clock]
    network = AlexNet(7, seed=0).eval()
    counts: list[int] = []

    def response(rule: Rule, precision: Precision) -> None:
        frequency_response(
            network, given.size, rule=rule, count=given.count, precision=precision,
            on_progress=lambda _, total: counts.append(total),
        )  # fmt: skip

    ways = [(rule, precision) for rule in get_args(Rule)[:2] for precision in get_args(Precision)]
    names = [*(f"{rule}, {precision}" for rule, precision in ways), *(loop.__name__ for loop in LOOPS)]
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(given.rounds + 1):  # the first warms up
        for rule, precision in ways:
            began = clock()
            response(rule, precision)
            speeds[f"{rule}, {precision}"].append(counts[-1] / (clock() - began))
        images = min(counts[-1], 40)
        for loop in LOOPS:
            began = clock()
            loop(network, given.size, images)
            speeds[loop.__name__].append(images / (clock() - began))
    timed = {name: values[1:] for name, values in speeds.items()}
    for name, values in timed.items():
        ratios = [
            statistics.median(value / base for value, base in zip(values, timed[loop.__name__], strict=True))
            for loop in LOOPS
        ]
        print(
            f"{name:19s} {statistics.median(values):6.1f} images/s ({min(values):.1f} to {max(values):.1f}), "
            f"{ratios[0]:.2f} times the plain loop, {ratios[1]:.2f} times the lean one"
        )
    curves = [
        smoothed(normalised(frequency_response(network, given.size, count=8, precision=precision)[1]))
        for precision in get_args(Precision)
    ]
    print(f"largest difference of the figure's curve in bfloat16: {abs(curves[0] - curves[1]).max():.4f}")


if __name__ == "__main__":
    main()
