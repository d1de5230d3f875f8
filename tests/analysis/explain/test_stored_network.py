"""The network of a stage run is the one that was trained, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from analysis.explain.stored_network import load_network
from lightning_modules.build import build_model, build_network
from stages.errors import RelayError
from stages.recipe import Model
from stages.store import RunFolder, recipe_document
from tests.helpers.stage_helpers import recipe, record_content, seal

WIDTH = 0.0625
CLASSES = 5


def _run(folder: Path, weights: object, **model: Any) -> Path:
    values = {"name": "alexnet", "dropout": 0.5, "initialisation": "lecun_normal", "width": WIDTH}
    of = recipe(model=Model(**(values | model)))
    run = RunFolder(folder.parent / of.stage / of.id[:16])
    run.path.mkdir(parents=True)
    run.recipe.write_text(yaml.safe_dump(recipe_document(of)))
    torch.save(weights, run.weights)
    run.record.write_text(json.dumps(record_content(of)))
    seal(run)
    return run.path


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return build_network("alexnet", CLASSES, width=WIDTH, seed=11)


@pytest.mark.parametrize(
    "stored",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": {f"network.{name}": value for name, value in weights.items()}},
    ],
    ids=["state dict", "Lightning's"],
)
def test_the_network_gives_the_trained_one_s_logits(
    tmp_path: Path, trained: nn.Module, stored: Callable[[dict[str, Tensor]], object]
) -> None:
    network = load_network(_run(tmp_path / "run", stored(trained.state_dict())))
    images = torch.randn(2, 3, 63, 63, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(images)  # dropout would change them
        expected = trained.eval()(images)
    assert logits.shape == (2, CLASSES)
    assert torch.equal(logits, expected)
    assert not any(module.training for module in network.modules())


def test_a_network_of_timms_and_its_statistics(tmp_path: Path) -> None:
    of = {
        "name": "timm",
        "architecture": "test_resnet",
        "initialisation": "timm",
        "width": 1.0,
        "dropout": 0.0,
    }
    trained = build_model(Model(**of), CLASSES, seed=1).train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        trained(images)  # its normalisations have seen something
        found = load_network(_run(tmp_path / "run", trained.state_dict(), **of))
        assert torch.equal(found(images), trained.eval()(images))
    with pytest.raises(RelayError, match=r"is not the test_vit that .*recipe\.yaml names"):
        load_network(
            _run(tmp_path / "other" / "run", trained.state_dict(), **(of | {"architecture": "test_vit"}))
        )


def test_weights_of_another_arithmetic_become_float32(tmp_path: Path, trained: nn.Module) -> None:
    weights = {name: value.to(torch.bfloat16) for name, value in trained.state_dict().items()}
    network = load_network(_run(tmp_path / "run", weights))
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    assert torch.equal(network.state_dict()["conv1.weight"], weights["conv1.weight"].float())


def test_no_weights_are_named(tmp_path: Path, trained: nn.Module) -> None:
    run = _run(tmp_path / "run", trained.state_dict())
    (run / "model.ckpt").unlink()
    with pytest.raises(RelayError, match=r" has no model\.ckpt.* it trains the run again"):
        load_network(run)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, trained: nn.Module, value: float) -> None:
    weights = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    weights["conv3.weight"][0, 0, 0, 0] = value
    with pytest.raises(RelayError, match=r"/model\.ckpt has weights that are NaN or infinite: conv3\.weight"):
        load_network(_run(tmp_path / "run", weights))


@pytest.mark.parametrize("content", [b"", b"a text", b"PK\x03\x04"], ids=["empty", "text", "cut short"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, trained: nn.Module, content: bytes) -> None:
    run = _run(tmp_path / "run", trained.state_dict())
    (run / "model.ckpt").write_bytes(content)
    with pytest.raises(RelayError, match=r"/model\.ckpt is not the file that its run wrote"):
        load_network(run)
    seal(RunFolder(run))  # by a run that had written it
    with pytest.raises(RelayError, match=r"/model\.ckpt"):
        load_network(run)


def test_other_weights_of_the_same_network_are_refused(tmp_path: Path, trained: nn.Module) -> None:
    run = _run(tmp_path / "run", trained.state_dict())
    torch.save(build_network("alexnet", CLASSES, width=WIDTH, seed=12).state_dict(), run / "model.ckpt")
    with pytest.raises(
        RelayError, match=r"/model\.ckpt is not the file .*remove its folder and run the same"
    ):
        load_network(run)


def test_weights_of_another_network_are_refused(tmp_path: Path, trained: nn.Module) -> None:
    message = r"/model\.ckpt is not the alexnet that .*recipe\.yaml names: size mismatch"
    with pytest.raises(RelayError, match=message):
        load_network(_run(tmp_path / "run", trained.state_dict(), width=0.125))


def test_weights_without_a_layer_are_refused(tmp_path: Path, trained: nn.Module) -> None:
    weights = {name: value for name, value in trained.state_dict().items() if not name.startswith("fc7")}
    with pytest.raises(RelayError, match=r"is not the alexnet .*fc7"):
        load_network(_run(tmp_path / "run", weights))


@pytest.mark.parametrize("content", ["{", "stage: dld", "model: {name: alexnet}", "[]"])
def test_a_recipe_that_names_no_network_is_refused(tmp_path: Path, trained: nn.Module, content: str) -> None:
    run = _run(tmp_path / "run", trained.state_dict())
    (run / "recipe.yaml").write_text(content)
    with pytest.raises(RelayError, match=r"/recipe\.yaml"):
        load_network(run)
