"""Transfer rules as they are written: names and ranges of layers, in the order of a network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.alexnet import AlexNet
from lightning_modules.specification import Layer, Specification
from lightning_modules.transfer_rule import TransferRule, transfer_rule
from stages.errors import RelayError
from tests.helpers.networks import resnet18

ALEXNET = AlexNet.specification
RESNET = resnet18.SPECIFICATION


def test_names_and_ranges() -> None:
    rule = transfer_rule("mine", ["fc7-fc8"], ["conv2", "conv1-conv3", "fc6"], ALEXNET)
    assert rule == TransferRule("mine", ("fc7", "fc8"), ("conv1", "conv2", "conv3", "fc6"))
    assert transfer_rule("all", [], [], ALEXNET) == TransferRule("all", (), ())
    assert transfer_rule("one", ["fc8-fc8"], [], ALEXNET).reinitialised == ("fc8",)


def test_a_range_of_names_with_dots() -> None:
    rule = transfer_rule("mine", ["layer4.0-fc"], ["conv1-layer1.1"], RESNET)
    assert rule.reinitialised == ("layer4.0", "layer4.1", "fc")
    assert rule.frozen == ("conv1", "bn1", "layer1.0", "layer1.1")


def test_words_stand_for_parts_of_a_network() -> None:
    assert transfer_rule("a", ["classifier"], ["features"], ALEXNET) == TransferRule(
        "a", ("fc7", "fc8"), ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6")
    )
    assert transfer_rule("a", ["head"], ["convolution"], ALEXNET) == TransferRule(
        "a", ("fc8",), ("conv1", "conv2", "conv3", "conv4", "conv5")
    )
    assert transfer_rule("a", ["linear"], [], ALEXNET).reinitialised == ("fc6", "fc7", "fc8")
    assert transfer_rule("a", ["classifier"], ["normalisation"], RESNET) == TransferRule(
        "a", ("fc",), ("bn1",)
    )
    assert transfer_rule("a", ["block"], ["conv1"], RESNET).reinitialised == RESNET.layer_names[2:-1]


NAMES = ALEXNET.layer_names
PLACES = st.integers(0, len(NAMES) - 1)


@given(st.lists(st.tuples(PLACES, PLACES).map(sorted), max_size=4))
def test_ranges_are_slices_of_the_networks_order(ranges: list[list[int]]) -> None:
    written = [f"{NAMES[low]}-{NAMES[high]}" for low, high in ranges]
    chosen = {name for low, high in ranges for name in NAMES[low : high + 1]}
    assert transfer_rule("mine", written, [], ALEXNET).reinitialised == tuple(
        name for name in NAMES if name in chosen
    )


@pytest.mark.parametrize(
    ("reinitialise", "freeze", "network", "message"),
    [
        (
            ["fc9"],
            [],
            ALEXNET,
            r"transfer\.reinitialise of the rule mine is 'fc9'; did you mean fc8 or .*of conv1",
        ),
        ([], ["conv"], ALEXNET, r"transfer\.freeze of the rule mine is 'conv'; did you mean conv5"),
        (["fc7"], [], RESNET, r"is 'fc7'; did you mean fc\? It must be one of conv1, bn1, layer1\.0, "),
        (
            [],
            ["conv1-conv9"],
            ALEXNET,
            r"the last layer of 'conv1-conv9' in transfer\.freeze of the rule mine is 'conv9'; did",
        ),
        ([], ["conv1-"], ALEXNET, r"freeze of the rule mine is 'conv1-'; a range is FIRST-LAST, the names"),
        ([], ["-conv1"], ALEXNET, r"is '-conv1'; a range is FIRST-LAST, the names of two layers of alexnet"),
        ([], [""], ALEXNET, r"is ''; it must be one of conv1"),
        ([], ["conv1-conv2-conv3"], ALEXNET, r"is 'conv1-conv2-conv3'; a range is FIRST-LAST"),
        (["heads"], [], ALEXNET, r"is 'heads'; did you mean head\?"),
        (
            [],
            ["conv3-conv1"],
            ALEXNET,
            r"is 'conv3-conv1'; in alexnet conv1 comes before conv3: write conv1-conv3",
        ),
        (["fc7-fc8"], ["conv1-fc7"], ALEXNET, r"transfer rule mine: fc7 in both transfer\.reinitialise and"),
        (
            [],
            ["conv1-fc8"],
            ALEXNET,
            r"rule mine: transfer\.freeze is conv1-fc8, which is every layer of alexnet",
        ),
    ],
)
def test_rules_that_make_no_sense(
    reinitialise: list[str], freeze: list[str], network: Specification, message: str
) -> None:
    with pytest.raises(RelayError, match=message):
        transfer_rule("mine", reinitialise, freeze, network)


def test_no_name_of_a_layer_can_be_taken_for_a_range() -> None:
    with pytest.raises(RelayError, match="'a-b'"):
        replace(RESNET, layers=(Layer("a-b", "a", "linear"),), head="a-b")
