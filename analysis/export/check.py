"""Whether the written programs say what `predict.py` says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analysis.explain.target_images import target_images
from analysis.export.network import RawInput
from analysis.export.programs import INPUT, ONNX_PROGRAM, TORCH_PROGRAM, quiet
from analysis.prediction.ensemble import Ensemble
from datamodules.pixels.window import window_to_uint8
from stages.console.output import bar
from stages.errors import RelayError

TOLERANCE = 1e-4
"""The largest difference of two probabilities that is taken."""

_BATCHES = (1, 7)  # the first two; then as many as predict.py takes
_BATCH = 64
_GENERATED = 64  # images where there are no others

Floats = npt.NDArray[np.float32]
Program = Callable[[Tensor], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Checked:
    """What was compared.

    Attributes:
        evaluation_images: of a run's evaluation set; 0 if they are not there.
        why_none: why, then.
        generated_images: noise and gradients; with a window, of values on both sides of it, too.
        differences: the largest one of any probability, by the name of what ran the program.
        rounding: the largest one of the networks as they round in training, on the evaluation images; None
            where that is float32, or this machine does not do it, or there are no such images.
    """

    evaluation_images: int
    why_none: str
    generated_images: int
    differences: dict[str, float]
    rounding: float | None

    @property
    def images(self) -> str:
        """Which images, in words."""
        generated = f"{self.generated_images} generated images"
        if not self.evaluation_images:
            return f"{generated} (no image of the evaluation set was there)"
        return f"{self.evaluation_images} images of the evaluation set and {generated}"

    def document(self) -> dict[str, object]:
        """What `config.json` says of it."""
        return {
            "evaluation_images": self.evaluation_images,
            "generated_images": self.generated_images,
            "largest_difference": {name: float(f"{off:.0e}") for name, off in self.differences.items()},
            "allowed": TOLERANCE,
            "largest_difference_by_rounding_as_in_training": self.rounding and float(f"{self.rounding:.0e}"),
        }


def check_programs(ensemble: Ensemble, raw: RawInput, folder: Path) -> Checked:
    """Compare both programs of a folder with the networks, image by image and network by network.

    The evaluation set is that of the first network whose `config.yaml` leads to its images.

    Raises:
        RelayError: if a probability differs by more than `TOLERANCE`; says where and by how much.
    """
    found, why_none = _evaluation_set(ensemble)
    programs = {
        "onnxruntime": _onnx_program(folder / ONNX_PROGRAM),
        "torch.export": _torch_program(folder / TORCH_PROGRAM),
    }
    differences, rounding = dict.fromkeys(programs, 0.0), 0.0
    count, read = found
    trained = ensemble.as_trained
    rounds = count > 0 and any(member.precision != "32-true" for member in trained.members)
    with bar() as progress:
        task = progress.add_task("comparing with predict.py", total=count + _GENERATED)
        for evaluated, pixels, patches in _batches(count, read, raw):
            expected = ensemble.probabilities(pixels).transpose(0, 1).numpy()
            for name, program in programs.items():
                mean, each = program(patches)
                off = max(np.abs(each - expected).max(), np.abs(mean - expected.mean(axis=1)).max())
                if not off <= TOLERANCE:  # NaN, too
                    raise RelayError(
                        f"the exported program does not say what the networks say: by {name} a probability "
                        f"differs by {off:.2g}, more than {TOLERANCE:g}; nothing was written. Please report "
                        f"it, with the versions of torch, onnx and onnxruntime"
                    )
                differences[name] = max(differences[name], float(off))
            if rounds and evaluated:
                off = np.abs(trained.probabilities(pixels).transpose(0, 1).numpy() - expected).max()
                rounding = max(rounding, float(off))
            progress.advance(task, len(pixels))
    return Checked(count, why_none, _GENERATED, differences, rounding if rounds else None)


Read = Callable[[list[int]], Tensor]


def _evaluation_set(ensemble: Ensemble) -> tuple[tuple[int, Read], str]:
    """Number of images, how to read some as uint8 pixels; and why there are none."""
    why = ""
    for member in ensemble.members:
        try:
            images = target_images(member.folder.path)
            images.pixels([0])
            return (len(images.labels), images.pixels), ""
        except (RelayError, OSError) as error:
            why = why or str(error)
    return (0, lambda rows: torch.empty(0)), why


def _batches(count: int, read: Read, raw: RawInput) -> Iterator[tuple[bool, Tensor, Tensor]]:
    """Whether these were evaluated, pixels as training saw them, and the raw patches that they come from."""
    for rows in _rows(count):
        pixels = read(rows)
        yield True, pixels, raw.raw(pixels)
    generated = _generated(raw)
    for rows in _rows(len(generated)):
        patches = generated[rows]
        pixels = torch.from_numpy(window_to_uint8(patches.numpy(), raw.window))
        yield False, pixels, patches


def _rows(count: int) -> Iterator[list[int]]:
    start = 0
    for size in (*_BATCHES, *[_BATCH] * count):
        if start >= count:
            return
        yield list(range(start, min(start + size, count)))
        start += size


def _generated(raw: RawInput) -> Tensor:
    """Noise, coarse and fine, over the whole range and a quarter beyond it on both sides."""
    generator = np.random.default_rng(0)
    low, high = (0.0, 255.0) if raw.window is None else raw.window
    patches = []
    for number in range(_GENERATED):
        step = 2 ** (number % 4)
        coarse = generator.random([-(-side // step) for side in (raw.height, raw.width)] + [3] * raw.color)
        fine = coarse.repeat(step, axis=0).repeat(step, axis=1)[: raw.height, : raw.width]
        patches.append(low + (1.5 * fine - 0.25) * (high - low))
    values = np.rint(np.stack(patches))
    if raw.window is None:
        return torch.from_numpy(values.clip(0, 255).astype(np.uint8))
    return torch.from_numpy(values.astype(np.float32))


def _onnx_program(path: Path) -> Program:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(patches: Tensor) -> tuple[Floats, Floats]:
        mean, each = session.run(None, {INPUT: patches.numpy()})
        return mean, each

    return run


def _torch_program(path: Path) -> Program:
    with quiet():
        module = torch.export.load(path).module()

    def run(patches: Tensor) -> tuple[Floats, Floats]:
        with torch.no_grad():
            mean, each = module(patches)
        return mean.numpy(), each.numpy()

    return run
