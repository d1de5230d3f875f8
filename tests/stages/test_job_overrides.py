"""What the sweeper hands a job: overrides that compose exactly the planned stage run, whatever the paths."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.build import build_recipe
from stages.config import Config, source_of, to_config
from stages.job_overrides import job_overrides
from stages.plan import Plan
from stages.request import Request
from stages.store import Store
from tests.helpers.stage_helpers import by_chain, compose_dict, compose_stage, fake_identify, plan_of, request

SCRATCH, NATURAL, TWO_STAGE = ("dld",), ("natural", "dld"), ("natural", "texture", "dld")


def recomposed(overrides: list[str]) -> tuple[Config, str]:
    config = to_config(compose_dict(*overrides))
    digest = fake_identify(source_of(config)).digest
    return config, build_recipe(config, data_digest=digest, parent=config.job.parent).id


def overrides_of(plan: Plan, chain: tuple[str, ...], store: Store) -> list[str]:
    return job_overrides(by_chain(plan)[chain], store, index=2, count=3, images_after=99)


@pytest.mark.parametrize(
    ("asked", "chain"),
    [
        (request(*TWO_STAGE, rule="finetune", seed=3, source_seed=4, ratio=0.2), TWO_STAGE),
        (
            request(*TWO_STAGE, rule="finetune", between="conv_only", seed=3, source_seed=4),
            ("natural", "texture"),
        ),
        (
            request(*NATURAL, ratio=1e-5, overrides=("source_seed=9", "data_ratio=0.5", "seed=8")),
            ("natural",),
        ),
        (request(*NATURAL, ratio=1e-5, overrides=("transfer=conv_only", "ratio_unit=patient")), NATURAL),
        (request(*TWO_STAGE, rule="freeze_early", seed=3), TWO_STAGE),
        (request(*NATURAL, overrides=("test_fraction=0.15",)), NATURAL),
        (request(*NATURAL, overrides=("test_fraction=0.15",)), ("natural",)),
        (request(*NATURAL, overrides=("transfer=conv_only", "transfer.freeze=[conv1-conv3]")), NATURAL),
        (
            request(
                "dld",
                overrides=(
                    "optim=paper",
                    "optim.momentum=0.85",
                    "data.mean=[-0.0,1,1e-3]",
                    "data.std=[1,1,2]",
                ),
            ),
            SCRATCH,
        ),
    ],
)
def test_job_overrides_compose_the_planned_run(
    tmp_path: Path, asked: Request, chain: tuple[str, ...]
) -> None:
    plan = plan_of(asked)
    run = by_chain(plan)[chain]
    config, recipe_id = recomposed(overrides_of(plan, chain, Store(tmp_path)))
    assert recipe_id == run.id == config.job.id
    assert (config.job.chain, config.job.parent) == (chain, run.recipe.parent)
    assert (config.job.index, config.job.count, config.job.images_after) == (2, 3, 99)
    assert replace(config, job=run.config.job, paths=run.config.paths) == run.config
    assert config.paths.runs_dir == str(tmp_path)


def test_the_overrides_of_a_job_do_not_sweep(tmp_path: Path) -> None:
    plan = plan_of(request(*TWO_STAGE, ratio=0.2))
    for run in plan.runs.values():
        texts = job_overrides(run, Store(tmp_path / "a,b"), index=1, count=1, images_after=0)
        assert not any(
            parsed.is_sweep_override() for parsed in OverridesParser.create().parse_overrides(texts)
        )


AWKWARD = [
    "with space", "it's", 'say "hi"', "a,b", "Lungenbläschen", "back\\slash", "end\\", "\\'", "a\\\\'b",
    "x=y", "(1)", "[1]", "{1}", "$HOME", "null", "12", "a:b", "50%", "#1", "~", "choice(a,b)", "\u65e5\u672c",
]  # fmt: skip


def test_awkward_paths_arrive(tmp_path: Path) -> None:
    """Every awkward name in all four paths at once, through Hydra's own composition."""
    folder = tmp_path / " ".join(AWKWARD)
    folder.mkdir()
    checkpoint = folder / "alex,net's.pth"
    checkpoint.write_bytes(b"1")

    def elsewhere(stage: str, overrides: tuple[str, ...]) -> Config:
        config = compose_stage(stage, overrides)
        paths = replace(config.paths, data_dir=str(folder / "data"), cache_dir=str(folder / "cache"))
        return replace(config, init_from=str(checkpoint), paths=paths)

    plan = plan_of(request("dld"), compose_with=elsewhere)
    config, recipe_id = recomposed(overrides_of(plan, SCRATCH, Store(folder / "runs")))
    assert recipe_id == plan.runs[recipe_id].id
    assert config.init_from == str(checkpoint)
    assert config.paths.runs_dir == str(folder / "runs")
    assert config.paths.data_dir == str(folder / "data")
    assert config.paths.cache_dir == str(folder / "cache")


@cache
def one_run() -> Plan:
    return plan_of(request("dld"))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.sampled_from(AWKWARD)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
    | st.text("\\'\" ,a", min_size=1)
)
def test_any_path_is_one_quoted_value(name: str) -> None:
    """Hydra's parser gives the path back, unless it has an interpolation, which is Hydra's in every value."""
    texts = overrides_of(one_run(), SCRATCH, Store(Path("/runs") / name))
    (text,) = [text for text in texts if text.startswith("paths.runs_dir=")]
    parsed = OverridesParser.create().parse_override(text).value()
    if "${" not in name:
        assert parsed == str(Path("/runs") / name)
