"""Maps of whole series against the loop that one writes first, and how much memory they take.

    python -m benchmarks.series --runs-dir runs                       # 60 slices, every sixth is mapped
    python -m benchmarks.series --runs-dir runs --every 1             # all of them
    python -m benchmarks.series --runs-dir runs --slices 300 --sample 200

The series is synthetic, 512 x 512, with its true lungs. The loop takes one patch after the other: it cuts it,
applies the window, resizes and scales it, calls each network in float32, and adds the probabilities to the
map. It is timed on patches of the same places, drawn at random, and counted for as many as the map has. Both
run in one process of its own, one after the other, in rounds: of each round a ratio is made, of these the
median. Wall time, and processor time of all threads; the map includes reading slices and writing files.
Peak memory is what the process grew by since the networks were loaded.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch.nn import functional

from analysis.prediction.chosen import chosen_runs
from analysis.prediction.ensemble import Ensemble, load_ensemble
from analysis.prediction.series.patches import fill_outside, grid_of
from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.rescale import Rescale
from analysis.prediction.series.sliding import Sliding, map_patterns
from analysis.prediction.series.volume import CTVolume, open_volume
from datamodules.embedded.dld_series import draw_series
from datamodules.embedded.series import write_nifti

_DRAWN = 60  # slices at most; of longer series each stands several times


@dataclass(frozen=True)
class Asked:
    """What is measured: see the command's arguments."""

    runs_dir: Path
    runs: tuple[str, ...]
    folder: Path
    strides: tuple[int, ...]
    every: int
    sample: int
    threads: int
    as_trained: bool
    rounds: int


@dataclass(frozen=True)
class Measured:
    """One stride.

    Attributes:
        stride: px.
        patches: That went through the networks.
        map_ms: Per patch, (rounds, 2): wall and processor time.
        loop_ms: The same.
        difference: Largest difference between a probability of the loop and of the map's networks, which see
            grey levels in 255 steps, as in training.
        grown: Bytes that the process grew by at most since the networks were loaded.
    """

    stride: int
    patches: int
    map_ms: npt.NDArray[np.float64]
    loop_ms: npt.NDArray[np.float64]
    difference: float
    grown: int


def write_synthetic(folder: Path, slices: int, size: int) -> None:
    """Write series.nii.gz, and lungs.raw in the order of an opened volume."""
    drawn = draw_series(min(slices, _DRAWN), size, 0)
    which = np.arange(slices) * len(drawn.hounsfield) // slices
    spacing = (drawn.spacing[0] * len(drawn.hounsfield) / slices, *drawn.spacing[1:])
    write_nifti(folder / "series.nii.gz", drawn.hounsfield[which], spacing)
    drawn.lungs[which][::-1].tofile(folder / "lungs.raw")


def plain_loop(
    volume: CTVolume, places: Sequence[tuple[int, int, int]], ensemble: Ensemble
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """One patch after the other: seconds per patch (wall and processor), and the probabilities (N, M, C)."""
    height, width = ensemble.shape
    assert ensemble.input.window is not None
    low, high = ensemble.input.window
    side = ensemble.members[0].record.data.image_size
    planes = {number: volume.slice(number) for number, _, _ in places}
    lungs = np.fromfile(volume.source.with_name("lungs.raw"), np.uint8).reshape(volume.shape)
    filled = {number: fill_outside_hu(plane, lungs[number] > 0) for number, plane in planes.items()}
    sums = np.zeros((len(ensemble.classes), *volume.shape[1:]))
    counts = np.zeros(volume.shape[1:])
    said = []
    began = _clocks()
    with torch.inference_mode():
        for number, row, column in places:
            patch = filled[number][row : row + height, column : column + width]
            grey = np.clip((patch - low) / (high - low), 0, 1).astype(np.float32)
            image = torch.from_numpy(grey)[None, None].expand(1, 3, height, width)
            image = functional.interpolate(image, (side, side), mode="bicubic", align_corners=False)
            own = []
            for member in ensemble.members:
                mean, std = (
                    torch.tensor(values).view(1, 3, 1, 1) for values in (member.input.mean, member.input.std)
                )
                own.append(torch.softmax(member.network((image - mean) / std), dim=1)[0].numpy())
            said.append(own)
            sums[:, row : row + height, column : column + width] += np.mean(own, axis=0)[:, None, None]
            counts[row : row + height, column : column + width] += 1
    return (_clocks() - began) / len(places), np.array(said, np.float32)


def _clocks() -> npt.NDArray[np.float64]:
    return np.array([time.perf_counter(), time.process_time()])


def fill_outside_hu(plane: npt.NDArray[np.int16], lungs: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """As the map does, outside of the timed part."""
    order = np.arange(plane.size).reshape(plane.shape)
    low, high = (fill_outside((order >> shift & 255).astype(np.uint8), lungs) for shift in (0, 8))
    top = fill_outside((order >> 16).astype(np.uint8), lungs)
    nearest = low.astype(np.int64) | high.astype(np.int64) << 8 | top.astype(np.int64) << 16
    return np.asarray(plane.ravel()[nearest])


class _Counted(Ensemble):
    patches = 0

    def logits(self, pixels: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
        """As an ensemble's, counted."""
        _Counted.patches += len(pixels)
        return super().logits(pixels, batch_size)


def measure_stride(asked: Asked, ensemble: Ensemble, volume: CTVolume, stride: int, before: int) -> Measured:
    """Time the loop and the map in turns."""
    lungs = np.memmap(asked.folder / "lungs.raw", np.uint8, "r", shape=volume.shape)
    mapped = range(0, volume.shape[0], asked.every)
    places: list[tuple[int, int, int]] = []
    for number in mapped:
        grid = grid_of(lungs[number] > 0, ensemble.shape, stride)
        rows, columns = np.nonzero(grid.taken)
        places += [
            (number, int(grid.rows[row]), int(grid.columns[column]))
            for row, column in zip(rows, columns, strict=True)
        ]
    rng = np.random.default_rng(0)
    drawn = [places[index] for index in sorted(rng.choice(len(places), asked.sample).tolist())]
    counted = _Counted(**vars(ensemble))
    loops, maps = [], []
    for turn in range(asked.rounds):
        seconds, said = plain_loop(volume, drawn, ensemble)
        loops.append(seconds)
        folder = asked.folder / f"map-{stride}-{turn}"
        folder.mkdir()
        (folder / "lungs.raw").symlink_to(asked.folder / "lungs.raw")
        made = PatternMap(folder, volume, ensemble.classes, len(ensemble.members))
        made.create()
        made.finish(sorted(set(range(volume.shape[0])) - set(mapped)))
        _Counted.patches = 0
        began = _clocks()
        map_patterns(made, counted, Sliding(stride, 256, Rescale(volume.shape[1:], None, None)))
        maps.append((_clocks() - began) / _Counted.patches)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    few = drawn[: min(len(drawn), 64)]
    cut = [
        volume.levels(fill_outside_hu(volume.slice(number), lungs[number] > 0), _window(ensemble))[
            row : row + ensemble.shape[0], column : column + ensemble.shape[1]
        ]
        for number, row, column in few
    ]
    own = ensemble.probabilities(torch.from_numpy(np.array(cut))).numpy().transpose(1, 0, 2)
    difference = float(np.abs(own - said[: len(few)]).max())
    return Measured(stride, _Counted.patches, 1e3 * np.array(maps), 1e3 * np.array(loops), difference, grown)


def _window(ensemble: Ensemble) -> tuple[float, float]:
    assert ensemble.input.window is not None
    return ensemble.input.window[0], ensemble.input.window[1]


def measure(asked: Asked) -> list[Measured]:
    """All strides, in this process."""
    torch.set_num_threads(asked.threads)
    folders = chosen_runs(
        asked.runs_dir, process=None if asked.runs else "two_stage", runs=asked.runs, study=None
    )
    ensemble = load_ensemble(folders, torch.device("cpu"))
    if asked.as_trained:
        ensemble = ensemble.as_trained
    volume = open_volume(asked.folder / "series.nii.gz")
    ensemble.probabilities(torch.zeros((256, *ensemble.shape), dtype=torch.uint8))  # kernels are chosen once
    before = psutil.Process().memory_info().rss
    return [measure_stride(asked, ensemble, volume, stride, before) for stride in asked.strides]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--run", default="", help="ids of runs instead of the process two_stage, ID,ID")
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--every", type=int, default=6, help="only each so-manieth slice is mapped")
    parser.add_argument("--strides", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--sample", type=int, default=400, help="patches of the loop, each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--as-trained", action="store_true", help="the map as networks were trained, not in float32"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_synthetic(folder, given.slices, given.size)
        asked = Asked(
            given.runs_dir, tuple(filter(None, given.run.split(","))), folder, tuple(given.strides),
            given.every, given.sample, given.threads, given.as_trained, given.rounds,
        )  # fmt: skip
        # Of its own, so that the drawing is not in its memory.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured = pool.apply(measure, (asked,))
    print(
        "| stride | patches mapped | series, s | loop, s | times | of processor time | difference "
        "| memory, MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for each in measured:
        whole = each.patches * given.every / 1e3
        (series, _), (loop, _) = (np.median(one, axis=0) for one in (each.map_ms, each.loop_ms))
        times = [
            f"{np.median(one):.1f} ({one.min():.1f} to {one.max():.1f})"
            for one in (each.loop_ms / each.map_ms).T
        ]
        print(
            f"| {each.stride} | {each.patches} | {whole * series:.1f} | {whole * loop:.0f} "
            f"| {' | '.join(times)} | {each.difference:.6f} | {each.grown / 2**20:.0f} |"
        )


if __name__ == "__main__":
    main()
