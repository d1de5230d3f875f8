"""What a plan costs, estimated from the recorded speeds of the finished stage runs in the store."""

import logging
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.errors import RelayError
from stages.plan import Plan, StageRun
from stages.record import OlderRecordError, Record
from stages.store import RunFolder, Store

log = logging.getLogger(__name__)

# Finished runs of a stage that are read for their speed, newest first: a better mean is not worth the time to
# read thousands.
MOST_RECORDS = 100


@dataclass(frozen=True)
class Work:
    """What the duration of a stage run depends on, apart from the machine.

    Attributes:
        stage: its name.
        network: model, architecture, width, image size in pixels, precision.
        plateau: when it ends.
        epoch_images: training images of an epoch.
    """

    stage: str
    network: tuple[str, str | None, float, int, str]
    plateau: Mapping[str, Any]
    epoch_images: int


@dataclass(frozen=True)
class Sample:
    """A finished run: its work, its number of epochs, and its seconds with evaluation."""

    work: Work
    epochs: int
    seconds: float


class RecordedSpeeds:
    """Estimates durations from finished runs of the same network at the same image size.

    Among them, those of the same stage are preferred, and of these the ones with the nearest number of images
    per epoch: evaluation and start-up are a larger part of a short run. The number of epochs is the recorded
    median if the plateau rule is the same, and `max_epochs` otherwise.
    """

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._samples: dict[tuple[str, str | None, float, int, str], list[Sample]] = {}
        self._estimates: dict[tuple[Any, ...], float | None] = {}
        self.count = 0
        for sample in samples:
            self.learn(sample)

    def learn(self, sample: Sample) -> None:
        """Take a finished run into account."""
        self._samples.setdefault(sample.work.network, []).append(sample)
        self._estimates.clear()
        self.count += 1

    def seconds(self, work: Work) -> float | None:
        """Expected duration of a stage run in seconds, or None if there is no similar finished run."""
        key = (work.stage, work.network, tuple(work.plateau.values()), work.epoch_images)
        if key not in self._estimates:
            self._estimates[key] = self._estimate(work)
        return self._estimates[key]

    def _estimate(self, work: Work) -> float | None:
        samples = self._samples.get(work.network, [])
        if not samples:
            return None
        samples = [sample for sample in samples if sample.work.stage == work.stage] or samples
        distance = {
            sample.work.epoch_images: abs(sample.work.epoch_images - work.epoch_images) for sample in samples
        }
        nearest = min(distance, key=lambda images: (distance[images], images))
        samples = [sample for sample in samples if sample.work.epoch_images == nearest]
        per_image = statistics.median(sample.seconds / (sample.epochs * nearest) for sample in samples)
        alike = [sample.epochs for sample in samples if sample.work.plateau == work.plateau]
        epochs = statistics.median(alike) if alike else work.plateau["max_epochs"]
        return float(epochs * work.epoch_images * per_image)


def work_of(plan: Plan, run: StageRun) -> Work:
    """What the duration of a planned stage run depends on."""
    recipe = run.recipe
    return Work(
        stage=recipe.stage,
        network=(
            recipe.model.name,
            recipe.model.architecture,
            recipe.model.width,
            recipe.data.image_size,
            recipe.arithmetic.precision,
        ),
        plateau=asdict(recipe.plateau),
        epoch_images=plan.images[run.id],
    )


def sample_of(work: Work, record: Record) -> Sample:
    """A finished run as a sample for its planned work."""
    return Sample(work, record.epochs, record.cost.seconds)


def recorded_speeds(plan: Plan, store: Store) -> RecordedSpeeds:
    """Speeds of the newest finished runs in the store, at most `MOST_RECORDS` per stage.

    A record or recipe that cannot be read is skipped: it says nothing about speed, and the code that needs it
    raises the error. A warning names runs of an older version, which the plan does not count as done.
    """
    stages, older = {run.stage for run in plan.runs.values()}, list[Path]()
    speeds = RecordedSpeeds(
        sample for stage in sorted(_stages(store, stages)) for sample in _samples(stage, older)
    )
    if older:
        log.warning(
            "%s holds stage runs that an older version of Relay trained, such as %s. They do not count as "
            "done and stay as they are: new runs are trained beside them, and you may remove their folders.",
            *(store.runs_dir, older[0]),
        )
    return speeds


@dataclass(frozen=True)
class Estimate:
    """Stage runs, the most images they train on, and their expected seconds one after another.

    `unknown` is the number of runs without an estimate; `seconds` is the sum over the others.
    """

    runs: int
    images: int
    seconds: float
    unknown: int


@dataclass(frozen=True)
class Cost:
    """What a plan costs.

    Attributes:
        left: the runs that are missing now.
        shared: the whole plan, as if nothing were done.
        alone: the same chains, if each of them trained all of its stages itself.
        records: number of finished runs that the durations are estimated from.
    """

    left: Estimate
    shared: Estimate
    alone: Estimate
    records: int


def plan_cost(plan: Plan, missing: Iterable[StageRun], speeds: RecordedSpeeds) -> Cost:
    """The cost of a plan of which some runs are missing."""
    runs = plan.runs.values()
    return Cost(
        left=_estimate(plan, ((run, 1) for run in missing), speeds),
        shared=_estimate(plan, ((run, 1) for run in runs), speeds),
        alone=_estimate(plan, ((run, plan.uses[run.id]) for run in runs), speeds),
        records=speeds.count,
    )


def cost_lines(cost: Cost) -> list[str]:
    """A plan's cost in sentences."""
    left, lines = cost.left, []
    if left.runs:
        lines.append(f"to train: at most {left.images:,} images, {_time(left, cost.records)}")
    saved = cost.alone.runs - cost.shared.runs
    if saved:
        images = cost.alone.images - cost.shared.images
        known = not cost.alone.unknown
        seconds = cost.alone.seconds - cost.shared.seconds
        time = f" and {duration(seconds)}" if known else ""
        lines.append(
            f"sharing saves {saved:,} of {cost.alone.runs:,} stage runs, {images:,} images{time}, "
            "against each chain alone"
        )
    return lines


def duration(seconds: float) -> str:
    """A duration in words, such as "about 3 min"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    if seconds < 72 * 3600:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds / 86400:.1f} days"


def _time(left: Estimate, records: int) -> str:
    if left.unknown == left.runs:
        return "time unknown: the store has no finished run of this network at this image size"
    hours = f"{duration(left.seconds)} one after another (speeds of {records} finished)"
    if left.unknown:
        hours += f", without {left.unknown:,} runs of a network or image size that no finished run has"
    return hours


def _estimate(plan: Plan, runs: Iterable[tuple[StageRun, int]], speeds: RecordedSpeeds) -> Estimate:
    count = images = unknown = 0
    total = 0.0
    for run, times in runs:
        count += times
        images += times * plan.most_images(run)
        seconds = speeds.seconds(work_of(plan, run))
        if seconds is None:
            unknown += times
        else:
            total += times * seconds
    return Estimate(runs=count, images=images, seconds=total, unknown=unknown)


def _stages(store: Store, wanted: set[str]) -> Iterator[Path]:
    """Folders of the wanted stages, or of all stages if none of those exists."""
    try:
        folders = [Path(entry) for entry in os.scandir(store.runs_dir) if entry.is_dir()]
    except OSError:
        return iter(())
    folders = [folder for folder in folders if not folder.name.startswith(".")]
    return iter([folder for folder in folders if folder.name in wanted] or folders)


def _samples(stage: Path, older: list[Path]) -> Iterator[Sample]:
    finished = []
    for entry in os.scandir(stage):
        try:
            finished.append((os.stat(f"{entry.path}/record.json").st_mtime_ns, entry.path))
        except OSError:  # not finished, or no run at all
            continue
    for _, path in sorted(finished, reverse=True)[:MOST_RECORDS]:
        folder = RunFolder(Path(path))
        try:
            record = folder.read_record()
            recipe = folder.read_recipe()
            model, data = recipe["model"], recipe["data"]
            network = (
                model["name"],
                model.get("architecture"),
                model["width"],
                data["image_size"],
                recipe["arithmetic"]["precision"],
            )
            images = sum(record.data.train_counts)
            yield sample_of(Work(record.stage, network, recipe["plateau"], images), record)
        except OlderRecordError:
            older.append(folder.path)
        except (RelayError, KeyError, TypeError):
            continue
