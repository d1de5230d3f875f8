"""Tensors that several modules of a network hold: one layer's, under all of their names."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.backbones import backbone_specification
from lightning_modules.build import build_model
from lightning_modules.layers import layer_parameters
from lightning_modules.optimisation import optimiser
from lightning_modules.specification import Layer, Specification
from lightning_modules.transfer import TransferReport, apply_transfer, set_train_mode, trainable_parameters
from lightning_modules.transfer_rule import transfer_rule
from lightning_modules.unfreezing import waiting_parameters
from stages.errors import RelayError
from stages.recipe import Model
from tests.helpers.plain_optim import PLAIN

NAME = "coat_lite_tiny"  # its blocks hold the encoding of positions of their stage
SHARED = "serial_blocks1.1.cpe.proj.weight"
OWN = "cpe1.proj.weight"


def coat(seed: int) -> nn.Module:
    return build_model(
        Model(name="timm", architecture=NAME, dropout=0.0, initialisation="timm", width=1.0), 3, seed
    )


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in coat(1).state_dict().items()}


def transferred(
    weights: dict[str, Tensor], fresh: list[str], freeze: list[str]
) -> tuple[nn.Module, TransferReport]:
    network = coat(2)
    rule = transfer_rule("mine", fresh, freeze, backbone_specification(NAME))
    return network, apply_transfer(network, weights, rule, scheme="timm", seed=2, source="a parent")


def test_a_tensor_is_one_layers_under_all_of_its_names() -> None:
    with torch.device("meta"):
        network = coat(0)
    owner = {key: layer for layer, keys in layer_parameters(network).items() for key in keys}
    assert sorted(owner) == sorted(network.state_dict())
    names = defaultdict(list)
    for key, tensor in network.state_dict(keep_vars=True).items():
        names[id(tensor)].append(key)
    several = [keys for keys in names.values() if len(keys) > 1]
    assert several and all(len({owner[key] for key in keys}) == 1 for keys in several)
    assert (owner[SHARED], owner[OWN], owner["serial_blocks1.1.norm1.weight"]) == (
        "cpe1", "cpe1", "serial_blocks1.1",
    )  # fmt: skip
    order = backbone_specification(NAME).layer_names
    stages = [f"{part}{stage}" for stage in (1, 2, 3, 4) for part in ("patch_embed", "cpe", "serial_blocks")]
    places = [next(place for place, name in enumerate(order) if name.startswith(start)) for start in stages]
    assert places == sorted(places), "where they are used first"


def test_what_a_rule_says_of_a_layer_is_done_to_its_tensors_once(weights: dict[str, Tensor]) -> None:
    network, report = transferred(weights, ["serial_blocks1.1", "classifier"], ["serial_blocks1.0"])
    ledger = report.kept + report.reinitialised + report.kept_buffers + report.reinitialised_buffers
    assert sorted(ledger) == sorted(weights)
    after = network.state_dict()
    for key in report.kept:
        assert torch.equal(after[key], weights[key]), key
    expected = coat(2).state_dict()
    assert all(torch.equal(after[key], expected[key]) for key in report.reinitialised)
    assert SHARED in report.kept and OWN in report.kept and not {SHARED, OWN} & {*report.frozen}
    trained = {id(parameter) for parameter in trainable_parameters(network)}
    for key, parameter in network.named_parameters(remove_duplicate=False):
        assert (id(parameter) in trained) == parameter.requires_grad == (key not in report.frozen), key


def test_a_frozen_layer_is_frozen_wherever_it_is_used(weights: dict[str, Tensor]) -> None:
    network, report = transferred(weights, ["classifier"], ["cpe1", "crpe1"])
    assert {SHARED, OWN} <= {*report.frozen}
    set_train_mode(network, report)
    steps = optimiser(network, replace(PLAIN, lr=1.0, weight_decay=0.1), fused=False)
    for parameter in trainable_parameters(network):
        parameter.grad = torch.ones_like(parameter)
    steps.step()
    after = network.state_dict()
    assert all(torch.equal(after[key], weights[key]) == (key in report.frozen) for key in report.kept)


def test_rates_and_beginnings_are_those_of_the_layer(weights: dict[str, Tensor]) -> None:
    network, report = transferred(weights, ["classifier"], [])
    steps = optimiser(network, replace(PLAIN, layer_decay=0.5), fused=False)
    rates = {id(each): group["lr"] for group in steps.param_groups for each in group["params"]}
    assert sum(len(group["params"]) for group in steps.param_groups) == len(list(network.parameters()))
    order = backbone_specification(NAME).layer_names
    shared = network.get_parameter(SHARED)
    assert rates[id(shared)] == PLAIN.lr * 0.5 ** (len(order) - 1 - order.index("cpe1"))
    place = [*reversed(order)].index("cpe1")  # the head begins, then a layer each epoch
    for epoch in (place - 1, place):
        waiting = waiting_parameters(network, report, epoch, 1)
        assert ({SHARED, OWN} & waiting.keys()) == ({SHARED, OWN} if epoch < place else set())


def test_a_file_may_leave_names_out_and_not_contradict_itself(weights: dict[str, Tensor]) -> None:
    few = {key: tensor for key, tensor in weights.items() if key != OWN}
    network, report = transferred(few, ["classifier"], [])
    assert torch.equal(network.get_parameter(OWN), weights[OWN]) and OWN in report.kept
    with pytest.raises(RelayError, match=rf"other numbers: {SHARED} and {OWN}, which are one tensor"):
        transferred(weights | {SHARED: weights[SHARED] + 1}, ["classifier"], [])


def test_layers_of_relays_own_networks_share_nothing() -> None:
    """Each is initialised by itself; torch's tying of weights would leave the last one's numbers in both."""
    network = nn.Module()
    network.first, network.second = nn.Linear(3, 3), nn.Linear(3, 3)
    network.specification = Specification(  # type: ignore[assignment]
        "tied", (Layer("first", "first", "linear"), Layer("second", "second", "linear")), "second",
        {"first": "first"}, "first", 1,
    )  # fmt: skip
    assert list(layer_parameters(network)) == ["first", "second"]
    network.second.weight = network.first.weight
    with pytest.raises(RelayError, match=r"tied: second\.weight is a tensor of the layer first, too"):
        layer_parameters(network)
