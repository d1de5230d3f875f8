"""What a plan costs: durations from recorded runs, worked by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stages.cost import (
    RecordedSpeeds,
    Sample,
    Work,
    cost_lines,
    duration,
    plan_cost,
    recorded_speeds,
    work_of,
)
from stages.plan import Plan
from stages.store import Store
from tests.helpers.stage_helpers import by_chain, complete, plan_of, request

NETWORK = ("alexnet", 1.0, 64, "32-true")
RULE = {"patience": 2, "max_epochs": 16}
TWO = [request("natural", "dld"), request("dld"), request("natural", "dld", ratio=0.5)]


def work(stage: str = "dld", images: int = 100, network: tuple[str, float, int, str] = NETWORK) -> Work:
    return Work(stage, network, RULE, images)


def finish(plan: Plan, store: Store, *chain: str) -> None:
    """With what `stage_helpers` records: 7 epochs of 7 images in 10 s."""
    run = by_chain(plan)[chain]
    folder = store.folder(run.stage, run.id)
    folder.path.mkdir(parents=True)
    folder.open_for(run.recipe)
    complete(store, run)


def test_a_run_like_the_recorded_ones_takes_as_long() -> None:
    speeds = RecordedSpeeds([Sample(work(), 4, 40.0), Sample(work(), 6, 90.0), Sample(work(), 8, 240.0)])
    # Medians: 6 epochs; 0.1, 0.15 and 0.3 s an image.
    assert speeds.seconds(work()) == pytest.approx(6 * 100 * 0.15)
    assert speeds.count == 3


def test_the_runs_whose_epochs_are_nearest_in_images_count() -> None:
    speeds = RecordedSpeeds([Sample(work(images=20), 5, 20.0), Sample(work(images=100), 5, 50.0)])
    assert speeds.seconds(work(images=30)) == pytest.approx(5 * 30 * 0.2)
    assert speeds.seconds(work(images=90)) == pytest.approx(5 * 90 * 0.1)


def test_another_stage_counts_only_where_there_is_none_of_the_same() -> None:
    speeds = RecordedSpeeds([Sample(work("natural"), 5, 50.0)])
    assert speeds.seconds(work("dld")) == pytest.approx(50.0)
    speeds.learn(Sample(work("dld"), 5, 500.0))
    assert speeds.seconds(work("dld")) == pytest.approx(500.0)


def test_under_another_plateau_rule_a_run_is_taken_to_its_last_epoch() -> None:
    speeds = RecordedSpeeds([Sample(work(), 4, 40.0)])
    longer = Work("dld", NETWORK, {"patience": 9, "max_epochs": 30}, 100)
    assert speeds.seconds(longer) == pytest.approx(30 * 100 * 0.1)


@pytest.mark.parametrize(
    "other",
    [("torchvision_alexnet", 1.0, 64, "32-true"), ("alexnet", 0.5, 64, "32-true"),
     ("alexnet", 1.0, 224, "32-true"), ("alexnet", 1.0, 64, "bf16-mixed")],
)  # fmt: skip
def test_another_network_or_size_says_nothing(other: tuple[str, float, int, str]) -> None:
    assert RecordedSpeeds([Sample(work(), 4, 40.0)]).seconds(work(network=other)) is None


def test_the_cost_of_a_plan(tmp_path: Path) -> None:
    plan, store = plan_of(*TWO), Store(tmp_path)
    # natural twice, dld, natural > dld and its half: 100 images an epoch.
    epochs = next(iter(plan.runs.values())).recipe.plateau.max_epochs
    nothing = plan_cost(plan, plan.missing(store), recorded_speeds(plan, store))
    assert (nothing.left.runs, nothing.left.images, nothing.left.unknown) == (4, 350 * epochs, 4)
    assert (nothing.alone.runs, nothing.alone.images) == (5, 450 * epochs)
    assert cost_lines(nothing) == [
        f"to train: at most {350 * epochs:,} images, time unknown: the store has no finished run of this "
        "network at this image size",
        f"sharing saves 1 of 5 stage runs, {100 * epochs:,} images, against each chain alone",
    ]


def test_the_cost_from_a_finished_source(tmp_path: Path) -> None:
    plan, store = plan_of(*TWO[:2], request("natural", "texture")), Store(tmp_path)
    finish(plan, store, "natural")
    epochs = by_chain(plan)["natural",].recipe.plateau.max_epochs
    cost = plan_cost(plan, plan.missing(store), recorded_speeds(plan, store))
    each = 7 * 100 * 10.0 / 49  # the recorded epochs; seconds an image
    assert cost.records == 1
    assert cost.left.seconds == pytest.approx(3 * each)
    assert cost.alone.seconds == pytest.approx(5 * each)
    assert cost_lines(cost) == [
        f"to train: at most {300 * epochs:,} images, about 7 min one after another (speeds of 1 finished)",
        f"sharing saves 1 of 5 stage runs, {100 * epochs:,} images and about 2 min, against each chain alone",
    ]


def test_a_plan_of_two_sizes_of_which_one_is_known(tmp_path: Path) -> None:
    plan, store = plan_of(request("dld"), request("dld", seed=1)), Store(tmp_path)
    first = next(iter(plan.runs.values()))
    store.folder("dld", first.id).path.mkdir(parents=True)
    store.folder("dld", first.id).open_for(first.recipe)
    complete(store, first)
    larger = plan_of(*(request("dld", overrides=(f"data.image_size={size}",)) for size in (64, 96)))
    cost = plan_cost(larger, larger.runs.values(), recorded_speeds(larger, store))
    assert (cost.left.runs, cost.left.unknown) == (2, 1)
    assert "without 1 runs of a network or image size that no finished run has" in cost_lines(cost)[0]


def test_a_finished_plan_costs_nothing(tmp_path: Path) -> None:
    plan, store = plan_of(request("dld")), Store(tmp_path)
    finish(plan, store, "dld")
    assert cost_lines(plan_cost(plan, [], recorded_speeds(plan, store))) == []


def test_records_that_cannot_be_read_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan, store = plan_of(request("natural", "dld"), request("texture")), Store(tmp_path)
    for chain in (("natural",), ("natural", "dld"), ("texture",)):
        finish(plan, store, *chain)
    runs = by_chain(plan)
    store.folder("natural", runs["natural",].id).record.write_text("{")
    store.folder("texture", runs["texture",].id).recipe.unlink()
    (tmp_path / "a file").touch()
    assert recorded_speeds(plan, store).count == 1
    assert not caplog.messages
    store.folder("texture", runs["texture",].id).record.write_text('{"schema_version": 1}')
    assert recorded_speeds(plan, store).count == 1
    (message,) = caplog.messages
    assert f"an older version of Relay trained, such as {tmp_path / 'texture'}" in message
    shutil.rmtree(tmp_path)
    assert recorded_speeds(plan, store).count == 0, "no store yet"


def test_work_of_a_planned_run() -> None:
    plan = plan_of(request("dld", ratio=0.2))
    (run,) = plan.runs.values()
    recipe = run.recipe
    assert work_of(plan, run).epoch_images == 20
    assert work_of(plan, run).network == (
        "alexnet", None, recipe.model.width, recipe.data.image_size, "32-true",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 s"), (89.4, "about 89 s"), (90, "about 2 min"), (5399, "about 90 min"),
     (5400, "about 1.5 h"), (200_000, "about 55.6 h"), (864_000, "about 10.0 days")],
)  # fmt: skip
def test_durations_for_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words
