"""A given stage: a chain that begins with weights from a file, as it is planned."""

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.resolve import resolve
from stages.config import Config
from stages.console.given import given_lines
from stages.errors import RelayError
from stages.plan import Plan
from stages.planner import build_plan
from tests.helpers.stage_helpers import by_chain, compose_stage, fake_identify, request

ONE = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # of b"1"
CHAIN = ("radimagenet", "texture", "dld")


def planned(
    *chains: tuple[str, ...], files: dict[str, Path], overrides: tuple[str, ...] = (), **stage: str
) -> Plan:
    """A plan in which the stages of `files` are given."""

    def compose(name: str, typed: tuple[str, ...]) -> Config:
        if name not in files:
            return compose_stage(name, typed)
        given = [f"+stage.{key}='{value}'" for key, value in {"weights": files[name], **stage}.items()]
        config = compose_stage("dld", (*typed, "stage.domain=null", *given))
        assert config.stage is not None
        return replace(config, stage=replace(config.stage, name=name))

    requests = [request(*chain, overrides=overrides) for chain in chains]
    return build_plan(requests, compose, fake_identify, resolve)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"1")
    return file


def test_the_next_stage_starts_from_the_file(weights: Path) -> None:
    plan = planned(CHAIN, ("dld",), files={"radimagenet": weights}, license="CC BY-NC 4.0")
    runs = by_chain(plan)
    assert set(runs) == {CHAIN[:2], CHAIN, ("dld",)}, "it is not trained itself"
    first, target = runs[CHAIN[:2]], runs[CHAIN]
    assert (first.recipe.init_from, first.recipe.given, first.recipe.parent) == (ONE, "radimagenet", None)
    assert (first.recipe.transfer, first.recipe.optim.lr) == ("feature", first.config.optim.lr_transfer)
    assert (first.depth, target.depth) == (0, 1), "two batches"
    assert (target.recipe.init_from, target.recipe.given) == (None, None)
    assert target.recipe.parent == first.id
    assert target.config.job.given is None
    assert given_lines(plan.runs.values()) == [
        f"radimagenet, given: {weights} (SHA-256 {ONE[:16]}, CC BY-NC 4.0)"
    ]


def test_ids_are_of_the_name_and_the_content(weights: Path, tmp_path: Path) -> None:
    def target(name: str, file: Path, **stage: str) -> str:
        return by_chain(planned((name, "dld"), files={name: file}, **stage))[name, "dld"].id

    before, moved = target("dino", weights), tmp_path / "elsewhere" / "w.pth"
    moved.parent.mkdir()
    weights.rename(moved)
    assert target("dino", moved) == before
    assert target("dino", moved, license="MIT", model="alexnet") == before
    assert target("radimagenet", moved) != before, "a chain of its own"
    moved.write_bytes(b"other")
    assert target("dino", moved) != before
    short = build_plan(
        [request("dld", overrides=(f"init_from={moved}",))], compose_stage, fake_identify, resolve
    )
    (run,) = short.runs.values()
    assert (run.recipe.given, run.chain) == (None, ("dld",))
    assert given_lines([run])[0].startswith(f"init_from: {moved} (SHA-256 ")


def test_a_tag_is_no_other_network(weights: Path) -> None:
    typed = ("model=timm", "model.architecture=test_resnet.r160_in1k", "data.image_size=32")
    for model in ("test_resnet", "test_resnet.r160_in1k", "timm"):
        assert len(planned(("own", "dld"), files={"own": weights}, overrides=typed, model=model).runs) == 1


def test_two_names_of_one_file_are_said(weights: Path) -> None:
    plan = planned(("dino", "dld"), ("own", "dld"), files={"dino": weights, "own": weights})
    assert len(plan.runs) == 2
    assert given_lines(plan.runs.values())[-1].startswith("dino and own are one file")


@pytest.mark.parametrize(
    ("chain", "more", "said"),
    [
        (("natural", "own", "dld"), {}, "Begin the chain with it: own -> natural -> dld"),
        (("natural", "own"), {}, "stage own is given .*, not trained: what stands before it"),
        (("own",), {}, r"name the stages that start from it, \+stage=own,dld -m"),
        (("own", "dld"), {"init_from": "WEIGHTS"}, "and init_from=.* is given too"),
        (
            ("own", "dld"),
            {"model": "resnet18"},
            r"its weights are of resnet18, .* trains alexnet\. Type model=timm model\.architecture=resnet18$",
        ),
        (("own", "dld"), {"model": "torchvision_alexnet"}, "alexnet. Type model=torchvision_alexnet$"),
        (("own", "dld"), {"domain": "dld"}, "leave out domain and source"),
        (("own", "dld"), {"license": "MIT\nand more"}, "one line of text"),
    ],
)
def test_what_makes_no_sense_is_refused(
    weights: Path, chain: tuple[str, ...], more: dict[str, str], said: str
) -> None:
    overrides = tuple(f"{key}={weights}" for key in more if key == "init_from")
    stage = {key: value for key, value in more.items() if key != "init_from"}
    with pytest.raises(RelayError, match=f"(?s){said}"):
        planned(chain, files={"own": weights}, overrides=overrides, **stage)


def test_a_file_that_is_not_there_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"stage own, weights: .*/gone\.pt: there is no such file"):
        planned(("own", "dld"), files={"own": tmp_path / "gone.pt"})
