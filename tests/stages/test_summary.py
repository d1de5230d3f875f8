"""The tables of a plan and of its results, as a terminal of 80 columns shows them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from stages.console.output import output
from stages.console.summary import plan_table, result_table, show_results
from stages.console.varied import varied_settings
from stages.outcome import Outcome, Status
from stages.store import Store
from tests.helpers.stage_helpers import by_chain, complete, plan_of, request, seal

TARGETS = [request(*chain) for chain in (("dld",), ("texture", "dld"), ("natural", "texture", "dld"))]


def printed(table: RenderableType) -> list[str]:
    """The lines of what a terminal of 80 columns shows, white space folded."""
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_table_of_what_would_run(tmp_path: Path) -> None:
    plan, store = plan_of(*TARGETS, request("natural", "dld", ratio=0.2)), Store(tmp_path)
    complete(store, by_chain(plan)["natural",])
    lines = printed(plan_table(plan, store))
    assert lines[0] == "7 stage runs, 8 if no chain shared a source: 1 done, 6 to train"
    run = by_chain(plan)["natural", "dld"]
    epochs = run.recipe.plateau.max_epochs
    cost = " ".join(lines[1:5])
    assert f"to train: at most {520 * epochs:,} images, time unknown" in cost
    assert f"sharing saves 1 of 8 stage runs, {100 * epochs:,} images, against each chain alone" in cost
    assert f"natural > dld 0 20% feature {20 * epochs:,} to train" in lines
    assert "natural 0 100% - done" in lines
    assert f"natural > dld: dld/{run.id[:16]}, to train" in lines
    assert f"natural: natural/{by_chain(plan)['natural',].id[:16]}" in lines


def test_the_table_of_one_run(tmp_path: Path) -> None:
    assert (
        printed(plan_table(plan_of(request("dld")), Store(tmp_path)))[0] == "1 stage run: 0 done, 1 to train"
    )


def test_the_table_of_what_came_of_it(tmp_path: Path) -> None:
    plan, store = plan_of(*TARGETS), Store(tmp_path)
    outcomes = {}
    for run in plan.runs.values():
        status: Status = "trained" if run.chain[0] != "natural" else "failed" if run.depth == 0 else "blocked"
        outcomes[run.id] = Outcome(run.id, status)
        if status == "trained":
            complete(store, run)
    lines = printed(result_table(plan, store, outcomes))
    assert lines[0] == "6 stage runs: 3 trained, 1 failed, 2 blocked"
    assert "texture > dld 2 7 7 4-7 75.0% 75.0% 10 100" in lines
    assert any(line.startswith("natural") and line.endswith("failed") for line in lines)
    assert lines.count("natural > blocked") == 2, "two longer names fold"
    run = by_chain(plan)["texture", "dld"]
    assert f"texture > dld: dld/{run.id[:16]}" in lines


def test_the_table_names_what_ended_early_and_what_did_not_learn(tmp_path: Path) -> None:
    plan, store = plan_of(request("natural"), request("texture"), request("dld")), Store(tmp_path)
    endings = {"natural": (True, True), "texture": (False, True), "dld": (False, False)}
    for run in plan.runs.values():
        complete(store, run)
        folder = store.folder(run.stage, run.id)
        content = json.loads(folder.record.read_text())
        content["plateau"] |= dict(zip(("reached", "learning"), endings[run.stage], strict=True))
        seal(folder, content)
    outcomes = {run.id: Outcome(run.id, "complete") for run in plan.runs.values()}
    lines = printed(result_table(plan, store, outcomes))
    assert "natural 2 7 7 4-7 75.0% 75.0% 10 100" in lines
    assert "texture 2 7 7 4-7* 75.0% 75.0% 10 100" in lines
    at = lines.index("dld 2 7 7 not 75.0% 75.0% 10 100")
    assert lines[at + 1] == "learning"
    assert "* the plateau was not reached before max_epochs" in lines
    assert "not learning: the training loss is about that of guessing the classes" in lines


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, store = plan_of(request("natural"), request("texture"), request("dld")), Store(tmp_path)
    for run in plan.runs.values():
        complete(store, run)
    runs = by_chain(plan)
    changed, folder = (store.folder(run.stage, run.id).record for run in (runs["natural",], runs["dld",]))
    changed.write_text(changed.read_text().replace("0.75", "17.0"))
    folder.unlink()
    folder.mkdir()
    assert plan.missing(store) == [], "nothing is trained over what may be mended"
    outcomes = {run.id: Outcome(run.id, "complete") for run in plan.runs.values()}
    with pytest.raises(SystemExit) as ended:
        show_results(plan, store, outcomes)
    assert ended.value.code == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "natural unreadable" in lines and "dld unreadable" in lines
    assert "texture 2 7 7 4-7 75.0% 75.0% 10 100" in lines
    said = "unreadable: natural: {} was changed since its run wrote it: its seal is wrong; remove its folder"
    assert any(line.startswith(said.format(changed)) for line in lines)
    assert any(line.startswith(f"unreadable: dld: {folder} cannot be read") for line in lines)
    output().print(plan_table(plan, store))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"natural 0 100% - unreadable", "texture 0 100% - done"} <= set(lines)
    assert "unreadable: natural: " in " ".join(lines) and "remove its folder" in " ".join(lines)


def test_a_long_plan_is_cut(tmp_path: Path) -> None:
    plan = plan_of(*(request("dld", seed=seed) for seed in range(63)))
    lines = printed(plan_table(plan, Store(tmp_path)))
    assert sum(line.startswith("dld ") for line in lines) == 60
    assert "and 3 more stage runs" in lines


def test_what_differs_between_rows_is_a_column(tmp_path: Path) -> None:
    """Rates were swept: rows that would be equal otherwise."""
    swept = [request("dld", overrides=(f"optim.lr_scratch={rate}",)) for rate in ("0.03", "0.01")]
    plan, store = plan_of(*swept), Store(tmp_path)
    lines = printed(plan_table(plan, store))
    rows = [line.split()[:4] for line in lines if line.startswith("dld ")]
    assert rows == [["dld", "0", "100%", "0.03"], ["dld", "0", "100%", "0.01"]]
    assert "optim. images" in lines and "stage run seed data lr transfer at most state" in lines
    outcomes = {}
    for run in plan.runs.values():
        complete(store, run)
        outcomes[run.id] = Outcome(run.id, "trained")
    rows = [
        line.split()[:2] for line in printed(result_table(plan, store, outcomes)) if line.startswith("dld ")
    ]
    assert rows == [["dld", "0.03"], ["dld", "0.01"]]


def test_a_parents_difference_is_said_by_its_id() -> None:
    """Only the source's seed differs between the targets."""
    chains = [request("natural", "dld", seed=3, source_seed=source) for source in (0, 1)]
    plan = plan_of(*chains)
    found = varied_settings(plan.runs.values())
    assert list(found) == ["parent"]
    targets = [run for run in plan.runs.values() if run.depth]
    assert [found["parent"][run.id] for run in targets] == [run.recipe.parent[:8] for run in targets]  # type: ignore[index]
    assert varied_settings(plan_of(request("natural", "dld")).runs.values()) == {}


def test_another_size_than_the_images_own_is_said(tmp_path: Path) -> None:
    plan, store = plan_of(request("dld")), Store(tmp_path)
    (run,) = plan.runs.values()
    complete(store, run)
    outcomes = {run.id: Outcome(run.id, "trained")}
    lines = " ".join(printed(result_table(plan, store, outcomes)))
    size = run.recipe.data.image_size
    assert f"dld: images of 32 x 32 px, trained at {size} x {size} px" in lines
