"""The plan: every recipe stands once in its graph, and a job composes exactly what was planned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from lightning_modules.resolve import resolve
from stages.config import Config, source_of
from stages.errors import RelayError
from stages.plan import describe, parent_folder
from stages.planner import build_plan
from stages.request import Request
from stages.source import Source
from stages.store import Store
from tests.helpers.stage_helpers import (
    FakeIdentity,
    by_chain,
    complete,
    compose_stage,
    composed,
    fake_identify,
    plan_of,
    request,
)

SCRATCH, TEXTURE, NATURAL = ("dld",), ("texture", "dld"), ("natural", "dld")
TWO_STAGE = ("natural", "texture", "dld")
RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


def table_2() -> list[Request]:
    return [
        request(*chain, ratio=ratio) for chain in (SCRATCH, TEXTURE, NATURAL, TWO_STAGE) for ratio in RATIOS
    ]


def test_the_papers_table_2_is_23_of_40_stage_runs() -> None:
    plan = plan_of(*table_2())
    assert (len(plan.runs), plan.unshared) == (23, 40)
    assert Counter(run.chain for run in plan.runs.values()) == {
        SCRATCH: 5, TEXTURE: 5, NATURAL: 5, TWO_STAGE: 5,
        ("natural",): 1, ("texture",): 1, ("natural", "texture"): 1,
    }  # fmt: skip
    for run in plan.runs.values():
        assert run.stage == "dld" or run.recipe.data.ratio == 1.0, "sources use all of their images"
        assert (run.recipe.parent is None) == (run.depth == 0)
        assert run.recipe.parent is None or plan.runs[run.recipe.parent].chain == run.chain[:-1]
    assert all(run.id == run_id for run_id, run in plan.runs.items())


def test_two_textures_are_two_runs() -> None:
    """Texture from random weights and texture from natural images."""
    runs = by_chain(plan_of(request(*TEXTURE), request(*TWO_STAGE)))
    first, second = runs["texture",].recipe, runs["natural", "texture"].recipe
    assert (first.parent, first.transfer) == (None, None)
    assert (second.parent, second.transfer) == (runs["natural",].id, "feature")
    assert first.data.digest == second.data.digest
    assert first.optim.lr == composed().optim.lr_scratch
    assert second.optim.lr == composed().optim.lr_transfer


def test_asking_twice_or_in_another_order_is_one_plan() -> None:
    requests = table_2()
    plan = plan_of(*requests, *requests)
    assert (len(plan.runs), plan.unshared) == (23, 40)
    assert set(plan_of(*reversed(requests)).runs) == set(plan.runs)


def test_what_is_complete_is_not_trained_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chain = plan_of(request(*TWO_STAGE))
    assert [run.chain for run in chain.missing(store)] == [("natural",), ("natural", "texture"), TWO_STAGE]
    for run in chain.runs.values():
        complete(store, run)

    def missing(*requests: Request) -> list[tuple[str, ...]]:
        return [run.chain for run in plan_of(*requests).missing(store)]

    assert missing(request(*TWO_STAGE)) == []
    assert missing(request("natural", "texture")) == []
    assert missing(request("natural")) == []
    assert missing(request(*NATURAL)) == [NATURAL]
    assert missing(request(*TWO_STAGE, ratio=0.2)) == [TWO_STAGE]
    assert missing(request(*TEXTURE)) == [("texture",), TEXTURE]
    assert len(missing(request(*TWO_STAGE, seed=1))) == 3
    assert missing(request(*TWO_STAGE, rule="finetune")) == [TWO_STAGE]


def test_depth_batches_have_parents_first(tmp_path: Path) -> None:
    plan = plan_of(*reversed(table_2()))
    batches = plan.by_depth(plan.missing(Store(tmp_path)))
    assert [len(batch) for batch in batches] == [7, 11, 5]
    for depth, batch in enumerate(batches):
        assert {run.depth for run in batch} == {depth}
        assert {run.recipe.parent for run in batch} <= {
            None,
            *(run.id for done in batches[:depth] for run in done),
        }
    assert plan.by_depth([]) == []
    target_only = [run for run in plan.runs.values() if run.chain == TWO_STAGE]
    assert plan.by_depth(target_only) == [target_only]


def test_depth_is_the_place_in_the_chain_and_not_in_the_domain_list() -> None:
    plan = plan_of(request("dld", "natural"), request("natural", "dld"))
    assert [(run.chain, run.depth) for run in plan.runs.values()] == [
        (("dld",), 0), (("natural",), 0), (("dld", "natural"), 1), (("natural", "dld"), 1),
    ]  # fmt: skip


def test_source_seed_shares_one_source_among_all_seeds() -> None:
    seeds = range(3)
    alone = plan_of(*(request(*TWO_STAGE, seed=seed) for seed in seeds))
    shared = plan_of(*(request(*TWO_STAGE, seed=seed, source_seed=7) for seed in seeds))
    assert len(alone.runs) == 9
    assert len(shared.runs) == 5
    assert [(run.stage, run.recipe.seed) for run in shared.runs.values()] == [
        ("natural", 7), ("texture", 7), ("dld", 0), ("dld", 1), ("dld", 2),
    ]  # fmt: skip
    assert {run.recipe.seed for run in alone.runs.values()} == {0, 1, 2}
    assert (
        plan_of(request("dld", seed=2, source_seed=7)).runs.keys()
        == plan_of(request("dld", seed=2)).runs.keys()
    )


def test_a_sources_seed_of_zero_is_not_null() -> None:
    plan = plan_of(request(*NATURAL, seed=5, source_seed=0))
    assert [run.recipe.seed for run in plan.runs.values()] == [0, 5]


def test_the_rule_is_the_targets_and_between_is_feature() -> None:
    runs = by_chain(plan_of(request(*TWO_STAGE, rule="finetune")))
    assert [runs[TWO_STAGE[: depth + 1]].recipe.transfer for depth in range(3)] == [
        None,
        "feature",
        "finetune",
    ]
    runs = by_chain(plan_of(request(*TWO_STAGE, rule="finetune", between="conv_only")))
    assert [runs[TWO_STAGE[: depth + 1]].recipe.transfer for depth in range(3)] == [
        None,
        "conv_only",
        "finetune",
    ]
    runs = by_chain(plan_of(request(*TWO_STAGE, overrides=("transfer=reuse_fc",))))
    assert [runs[TWO_STAGE[: depth + 1]].recipe.transfer for depth in range(3)] == [
        None,
        "feature",
        "reuse_fc",
    ]


def test_a_rule_between_that_does_not_fit_is_refused_as_such() -> None:
    def resnet(config: Config, transferred: bool) -> Config:
        if transferred and config.transfer.name == "freeze_early":
            raise RelayError("no conv2")
        return resolve(config, transferred)

    asked = request(*TWO_STAGE, between="freeze_early")
    with pytest.raises(
        RelayError, match=r"^no conv2\. This is the rule between, freeze_early, for the stage te"
    ):
        build_plan([asked], compose_stage, fake_identify, resnet)
    with pytest.raises(RelayError, match=r"^no conv2$"):
        build_plan([request(*NATURAL, rule="freeze_early")], compose_stage, fake_identify, resnet)


EARLY = ("conv1", "conv2", "conv3")


def layers_along(*requests: Request) -> list[tuple[str, tuple[str, ...], tuple[str, ...]] | None]:
    """Rule, re-initialised and frozen layers of the stages of two_stage's chain."""
    runs = by_chain(plan_of(*requests))
    recipes = [runs[TWO_STAGE[: depth + 1]].recipe for depth in range(3)]
    return [
        None
        if of.transfer is None or of.transfer_layers is None
        else (of.transfer, of.transfer_layers.reinitialise, of.transfer_layers.freeze)
        for of in recipes
    ]


def test_a_rules_layers_stand_one_by_one_in_the_recipe() -> None:
    head = ("fc7", "fc8")
    assert layers_along(request(*TWO_STAGE, rule="freeze_early", between="conv_only")) == [
        None,
        ("conv_only", ("fc6", *head), ()),
        ("freeze_early", head, EARLY),
    ]


def test_what_is_typed_about_the_rule_is_the_targets_alone() -> None:
    typed = ("transfer.freeze=[conv1-conv3]", "transfer.name=mine")
    feature = ("feature", ("fc7", "fc8"), ())
    mine = ("mine", ("fc7", "fc8"), EARLY)
    assert layers_along(request(*TWO_STAGE, overrides=typed)) == [None, feature, mine]
    finetune = layers_along(request(*TWO_STAGE, rule="finetune"))[-1]
    assert layers_along(request(*TWO_STAGE, rule="finetune", overrides=typed)) == [None, feature, finetune]
    plain, other = (by_chain(plan_of(request(*TWO_STAGE, overrides=texts))) for texts in ((), typed))
    assert plain["natural", "texture"].id == other["natural", "texture"].id
    assert plain[TWO_STAGE].id != other[TWO_STAGE].id


def test_two_ways_to_write_a_rule_are_one_run() -> None:
    def ids(*layers: str) -> set[str]:
        return set(plan_of(request(*NATURAL, overrides=layers)).runs)

    assert ids("transfer.reinitialise=[fc7-fc8]") == ids()
    assert ids("transfer.freeze=[conv2,conv1,conv1-conv3]") == ids("transfer.freeze=[conv1-conv3]") != ids()


def test_a_rule_under_another_name_than_its_files_is_refused() -> None:
    def misnamed(stage: str, overrides: tuple[str, ...]) -> Config:
        config = compose_stage(stage, overrides)
        name = config.transfer.name.replace("finetune", "other")
        return replace(config, transfer=replace(config.transfer, name=name))

    with pytest.raises(RelayError, match=r"transfer=finetune composes to the transfer rule other: in conf"):
        plan_of(request(*NATURAL, rule="finetune"), compose_with=misnamed)


def test_a_rule_is_checked_where_it_has_no_effect_too() -> None:
    """From random weights it changes nothing; what names no layer is a mistake all the same."""
    without_effect = plan_of(request("dld", overrides=("transfer.freeze=[conv1]",)))
    assert without_effect.runs.keys() == plan_of(request("dld")).runs.keys()
    for chain in (("dld",), NATURAL):
        with pytest.raises(RelayError, match=r"transfer\.freeze of the rule feature is 'nope'; it must be"):
            plan_of(request(*chain, overrides=("transfer.freeze=[nope]",)))


def test_typed_layers_give_a_rule_a_name_of_its_own() -> None:
    """Else load_runs would call it by its file's name, though its runs are no runs of that process."""

    def name(*overrides: str) -> str | None:
        return by_chain(plan_of(request(*NATURAL, overrides=overrides)))[NATURAL].recipe.transfer

    assert name("transfer.freeze=[conv1-conv2]") == "feature+freeze=conv1,conv2"
    assert name("transfer=finetune", "transfer.freeze=[]") == "finetune+freeze=none"
    assert (
        name("transfer.freeze=[conv1]", "transfer.reinitialise=[head]")
        == "feature+reinitialise=fc8+freeze=conv1"
    )
    assert name("transfer.freeze=[]", "transfer.reinitialise=[fc7-fc8]") == "feature"
    assert name("transfer.freeze=[conv1]", "transfer.name=mine") == "mine"


def test_what_no_network_can_do_is_refused_before_images_are_listed() -> None:
    def never(source: object) -> NoReturn:
        raise AssertionError("images are listed")

    for override, message in (
        ("model.name=alexnett", r"model\.name is 'alexnett'; did you mean alexnet"),
        ("model.initialisation=he", r"model\.initialisation is 'he'; it must be one of lecun_normal, kriz"),
        ("data.image_size=62", r"data\.image_size is 62; alexnet takes images of 63 px or more"),
    ):
        with pytest.raises(RelayError, match=message):
            build_plan([request("dld", overrides=(override,))], compose_stage, never, resolve)
    with pytest.raises(RelayError, match=r"model\.width is 0\.5; torchvision_alexnet comes in one width"):
        plan_of(request("dld", overrides=("model=torchvision_alexnet", "model.width=0.5")))
    for freeze, message in (
        ("conv9", r"transfer\.freeze of the rule feature is 'conv9'; did you mean conv5"),
        ("conv3-conv1", "write conv1-conv3"),
        ("fc7", "both transfer"),
    ):
        with pytest.raises(RelayError, match=message):
            plan_of(request(*NATURAL, overrides=(f"transfer.freeze=[{freeze}]",)))


def test_a_users_checkpoint_is_the_first_stages_only(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.pth"
    checkpoint.write_bytes(b"1")
    runs = by_chain(plan_of(request(*TWO_STAGE, overrides=(f"init_from={checkpoint}",))))
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert [runs[TWO_STAGE[: depth + 1]].recipe.init_from for depth in range(3)] == [digest, None, None]
    assert runs["natural",].recipe.transfer == "feature"
    assert runs["natural",].config.init_from == str(checkpoint)
    assert runs[TWO_STAGE].config.init_from is None


def test_images_at_most() -> None:
    plan = plan_of(request(*NATURAL, ratio=0.25), request("dld", ratio=0.001))
    epochs = composed().callbacks.plateau.max_epochs
    assert {run.chain: plan.most_images(run) for run in plan.runs.values()} == {
        ("natural",): 100 * epochs, ("dld",): 1 * epochs, NATURAL: 25 * epochs,
    }  # fmt: skip


def test_a_test_set_is_the_targets_alone() -> None:
    overrides = ("test_fraction=0.25",)
    plan, without = (plan_of(request(*TWO_STAGE, overrides=given)) for given in (overrides, ()))
    assert [run.recipe.test_fraction for run in plan.runs.values()] == [None, None, 0.25]
    assert list(plan.runs)[:2] == list(without.runs)[:2], "the same sources"
    assert list(plan.runs)[2] != list(without.runs)[2]
    assert [without.images[run] for run in without.runs] == [100] * 3
    assert [plan.images[run] for run in plan.runs] == [100, 100, 75]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            {"test_images": 7},
            "but the images of stage dld have a test set of their own, 7",
        ),
        (
            {"val_images": 0, "test_images": 0},
            r"do not say which are for evaluation\. Set the source's",
        ),
    ],
)
def test_sides_that_cannot_be_are_refused_when_planned(images: dict[str, int], message: str) -> None:
    asked = [request("dld", overrides=("test_fraction=0.25",))]
    with pytest.raises(RelayError, match=message):
        build_plan(asked, compose_stage, lambda source: FakeIdentity("d" * 64, **images), resolve)


def test_each_stage_is_composed_and_identified_once() -> None:
    asked: list[str] = []

    def compose_logged(stage: str, overrides: tuple[str, ...]) -> Config:
        asked.append(stage)
        return compose_stage(stage, overrides)

    plan_of(*table_2(), compose_with=compose_logged)
    assert sorted(asked) == ["dld", "natural", "texture"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            request("natural", "texture", "natural"),
            "stage natural occurs twice in the chain natural -> texture",
        ),
        (request(), "the chain is empty"),
        (request("dld", ratio=0.0), r"data_ratio is 0\.0"),
        (request("dld", ratio=1.1), r"data_ratio is 1\.1"),
        (request("dld", ratio=float("nan")), "data_ratio is nan"),
        (request("natural", "dld", seed=-1), "seed is -1"),
        (request("natural", "dld", source_seed=-2), "seed is -2"),
        (request("dld", overrides=("optim.batch_size=0",)), r"optim\.batch_size is 0"),
        (
            request("dld", overrides=("init_from=/absent.pth",)),
            r"init_from=/absent\.pth: there is no such file",
        ),
        (request("dld", overrides=("init_from=/dev/null",)), "init_from=/dev/null is a pipe or a device"),
        (request("dld", overrides=("init_from=/tmp",)), "init_from=/tmp is a folder; give the file of the"),
    ],
)
def test_a_request_without_sense(wrong: Request, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        plan_of(request("dld"), wrong)


def test_a_stage_under_another_name_is_refused() -> None:
    """`+stage=[natural,dld]` composes to dld alone."""
    with pytest.raises(RelayError, match=r"\+stage=\[natural,dld\] composes to the stage dld"):
        plan_of(request("[natural,dld]"))


def test_where_images_come_from() -> None:
    config = composed("+stage=natural")
    assert source_of(config) is config.data.domains["natural"]
    assert config.stage is not None
    own = Source(kind="folder", root="/data")
    assert source_of(replace(config, stage=replace(config.stage, source=own))) is own
    with pytest.raises(RelayError, match="no domain 'mri'; it has dld, natural, texture"):
        source_of(replace(config, stage=replace(config.stage, domain="mri")))
    with pytest.raises(RelayError, match="stage natural has neither a domain, a source nor weights"):
        source_of(replace(config, stage=replace(config.stage, domain=None)))


def test_parents_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = parent_folder(store, TWO_STAGE, "a" * 64)
    assert folder is not None
    assert folder.path == tmp_path / "texture" / ("a" * 16)
    assert parent_folder(store, SCRATCH, None) is None


def test_a_run_in_words() -> None:
    runs = by_chain(plan_of(request(*NATURAL, seed=3, ratio=0.2)))
    target, source = runs[NATURAL], runs["natural",]
    assert describe(target) == f"natural -> dld (seed 3, 20% of the data, {target.id[:16]})"
    assert describe(source) == f"natural (seed 3, {source.id[:16]})"
