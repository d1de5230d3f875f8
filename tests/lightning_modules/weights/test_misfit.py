"""What a refusal says of weights of another network: which of timm's they fit, or that none was found."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from lightning_modules.backbones import fitting
from lightning_modules.build import build_model, build_network
from lightning_modules.transfer import apply_transfer
from lightning_modules.transfer_rule import TransferRule
from lightning_modules.weights import find_weights, read_checkpoint
from stages.errors import RelayError
from stages.recipe import Model


def shapes(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=9).state_dict()


def asked(architecture: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(
            Model(name="timm", architecture=architecture, dropout=0.0, initialisation="timm", width=1.0), 2
        )


def refusal(network: torch.nn.Module, weights: dict[str, Tensor], fresh: tuple[str, ...] = ("fc",)) -> str:
    with pytest.raises(RelayError) as caught:
        apply_transfer(network, weights, TransferRule("mine", fresh), scheme="timm", seed=0, source="x")
    return str(caught.value)


@pytest.fixture(autouse=True)
def few_families(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of each that is looked at is built; ResNets' is the first."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(import_module("lightning_modules.backbones.fitting"), "_MOST_FAMILIES", 1)


@pytest.mark.parametrize("name", ["resnet34", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_a_file_of_timms_is_known_by_names_and_shapes(name: str) -> None:
    behind = {f"backbone.{key}": tensor for key, tensor in shapes(name).items()}
    assert fitting(behind | {"queue": torch.ones(2)}) == name
    behind.popitem()  # of its head
    assert fitting(behind) == name
    assert fitting(dict([*behind.items()][:9])) is None, "its stem alone"


@pytest.mark.slow
def test_a_network_whose_blocks_stand_in_another_source_is_known() -> None:
    assert fitting(shapes("mobilenetv3_large_100")) == "mobilenetv3_large_100"


def test_the_right_network_with_a_module_beside_it_is_not_called_another() -> None:
    said = refusal(asked("resnet18"), shapes("resnet18") | {"extra.weight": torch.ones(1)})
    assert "It is of resnet18, the right network" in said and "another architecture" not in said


def test_a_tensor_less_is_not_another_architecture() -> None:
    lacks = {key: it for key, it in shapes("resnet18").items() if key != "bn1.running_mean"}
    said = refusal(asked("resnet18"), lacks)
    assert "missing: bn1.running_mean" in said and "It is of another architecture" not in said


def test_what_the_file_says_is_tried_first_and_believed_if_it_fits() -> None:
    of = shapes("resnet34")
    assert fitting(of, "seresnet34", "resnet34.a1_in1k") == "resnet34", "all of resnet18's are there, too"
    assert fitting(of, "resnet50") == "resnet34"


def test_a_misfit_lists_a_few_of_each_and_how_many_there_are() -> None:
    said = refusal(asked("resnet18"), shapes("resnet34"))
    lines = said.splitlines()
    listed = [line for line in lines if line.startswith("  unexpected: ")]
    assert len(listed) == 6 and "  unexpected: 91 more" in listed
    assert "fits one of timm's: add model=timm model.architecture=resnet34" in lines[-1]


@pytest.mark.slow
def test_a_network_of_the_same_names_and_other_widths_is_found() -> None:
    said = refusal(asked("resnet50"), shapes("wide_resnet50_2"))
    assert "model.architecture=wide_resnet50_2" in said


@pytest.mark.slow
def test_the_right_network_with_more_in_the_file_is_no_other() -> None:
    said = refusal(asked("resnet18"), shapes("resnet18") | {"layer1.0.extra": torch.ones(1)})
    assert "unexpected: layer1.0.extra" in said and "Does it hold more" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"state_dict": "resnet34", "arch": "resnet34"},
            "add model=timm model.architecture=resnet34. The file",
        ),
        ({"state_dict": None, "arch": "my_net"}, "none was found .* The file says that it is of my_net"),
        ({"state_dict": None}, r"none was found that it fits, of timm's networks with names like its own\.$"),
    ],
)
def test_a_foreign_file_for_an_alexnet(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    name = content["state_dict"]
    of = {f"trunk.{number}.weight": torch.ones(2) for number in range(9)}
    if name is not None:
        of = {key: torch.zeros(it.shape) for key, it in shapes(name).items() if not key.startswith("fc.")}
    torch.save(content | {"state_dict": of}, tmp_path / "x.pth")
    with torch.device("meta"):
        network = build_network("alexnet", 2, width=0.0625)
    with pytest.raises(RelayError, match=said):
        find_weights(read_checkpoint(tmp_path / "x.pth"), network.state_dict(), network)
