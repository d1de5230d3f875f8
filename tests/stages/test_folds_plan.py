"""Folds in a plan: targets once per fold, sources once for all, and what makes no sense refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from stages.console.output import output
from stages.console.summary import plan_table
from stages.errors import RelayError
from stages.job_overrides import job_overrides
from stages.plan import describe
from stages.request import Request, check_folds
from stages.store import Store
from tests.helpers.stage_helpers import composed, plan_of, request

SCRATCH, TWO_STAGE = ("dld",), ("natural", "texture", "dld")


def in_folds(*chain: str, folds: int = 5, seeds: int = 2) -> list[Request]:
    return [
        replace(request(*chain, seed=seed), folds=folds, fold=fold)
        for seed in range(seeds)
        for fold in range(folds)
    ]


def test_a_source_is_trained_once_per_seed_for_all_folds() -> None:
    plan = plan_of(*in_folds(*SCRATCH), *in_folds(*TWO_STAGE))
    assert Counter(run.chain for run in plan.runs.values()) == {
        SCRATCH: 10, TWO_STAGE: 10, ("natural",): 2, ("natural", "texture"): 2,
    }  # fmt: skip
    assert plan.unshared == 10 + 30
    for run in plan.runs.values():
        source = run.stage != "dld"
        assert (run.recipe.folds, run.config.folds) == ((None, None) if source else (5, 5))
        assert run.recipe.fold == run.config.fold
        assert source == (run.recipe.fold is None)


def test_folds_and_other_sides_share_their_sources() -> None:
    whole, folded = request(*TWO_STAGE), in_folds(*TWO_STAGE, folds=3, seeds=1)
    assert len(plan_of(whole, *folded).runs) == 2 + 1 + 3


def test_each_fold_and_each_number_of_folds_is_another_run() -> None:
    ids = {run for folds in (2, 3) for run in plan_of(*in_folds(*SCRATCH, folds=folds, seeds=1)).runs}
    assert len(ids | set(plan_of(request(*SCRATCH)).runs)) == 2 + 3 + 1


def test_a_fold_trains_on_the_images_of_the_others() -> None:
    """100 training and 20 evaluation images: all of them are divided."""
    for folds, ratio, images in ((2, 1.0, 60), (6, 1.0, 100), (6, 0.2, 20)):
        asked = replace(request(*SCRATCH, ratio=ratio), folds=folds, fold=0)
        assert list(plan_of(asked).images.values()) == [images]


def test_a_job_is_told_its_fold() -> None:
    plan = plan_of(*in_folds(*TWO_STAGE, seeds=1)[1:2])
    told = {
        run.stage: [
            text
            for text in job_overrides(run, Store(Path("runs")), index=1, count=3, images_after=0)
            if text.startswith("fold")
        ]
        for run in plan.runs.values()
    }
    assert told == {name: ["folds=null", "fold=null"] for name in ("natural", "texture")} | {
        "dld": ["folds=5", "fold=1"]
    }
    (target,) = [run for run in plan.runs.values() if run.stage == "dld"]
    assert describe(target).startswith("natural -> texture -> dld (seed 0, fold 1 of 5, ")


def test_the_plan_shows_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output().print(plan_table(plan_of(*in_folds(*TWO_STAGE)), Store(tmp_path)))
    said = capsys.readouterr().out
    assert "dld: 5 folds of its groups, divided anew for each seed; a source is trained once for all" in said
    assert "14 stage runs, 30 if no chain shared a source" in said
    assert said.count("4 of 5") == 2
    assert "locked away" not in said
    output().print(plan_table(plan_of(request(*SCRATCH, overrides=("test_fraction=0.2",))), Store(tmp_path)))
    said = capsys.readouterr().out
    assert " fold" not in said
    assert said.count("dld: test_fraction=0.2 of its images is locked away first, by whole groups") == 1


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (None, 2, "fold=2 without folds: say into how many"),
        (5, None, "folds=5 without fold: add -m to train all of them, or choose one of fold=0 to fold=4"),
        (5, 5, "fold=5 of folds=5: folds are counted from 0, to 4"),
        (5, -1, "fold=-1 of folds=5"),
        (1, 0, "folds=1: give 2 or more"),
        (0, None, "folds=0: give 2 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(folds: int | None, fold: int | None, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        check_folds(folds, fold)
    with pytest.raises(RelayError, match=message):
        plan_of(replace(request(*SCRATCH), folds=folds, fold=fold))


def test_one_fold_in_the_configuration_is_refused() -> None:
    with pytest.raises(RelayError, match=r"folds is 1; .* 2 or more"):
        composed("+stage=dld", "folds=1")
