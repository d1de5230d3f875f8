"""The transfer rule: exact copies, a complete ledger, every stray key named, and frozen means frozen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import alexnet as torchvision_alexnet

from lightning_modules.alexnet import AlexNet
from lightning_modules.build import build_network, specification
from lightning_modules.specification import Layer, Specification
from lightning_modules.transfer import (
    TransferReport,
    apply_transfer,
    freeze,
    scratch_report,
    set_train_mode,
    trainable_parameters,
)
from lightning_modules.transfer_rule import TransferRule, transfer_rule
from lightning_modules.weights import read_checkpoint
from stages.errors import RelayError
from stages.record import TransferRecord
from tests.helpers.stage_helpers import CONF

FRESH = {  # design.md's table, written out a second time
    "feature": {"fc7", "fc8"},
    "conv_only": {"fc6", "fc7", "fc8"},
    "reuse_fc": {"fc8"},
    "finetune": {"fc7", "fc8"},
    "freeze_early": {"fc7", "fc8"},
}
FROZEN = {
    "finetune": {"conv1", "conv2", "conv3", "conv4", "conv5", "fc6"},
    "freeze_early": {"conv1", "conv2", "conv3"},
}


class Small(nn.Module):
    """Eight layers of the right names, two of them blocks with a batch normalisation and a dropout inside."""

    specification: ClassVar[Specification] = Specification(
        name="small",
        layers=tuple(
            Layer(name, name, kind)
            for name, kind in zip(
                ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"),
                ("block", *["convolution"] * 3, "block", *["linear"] * 3),
                strict=True,
            )
        ),
        head="fc8",
        classifier="fc7",
        taps={"conv5": "conv5"},
        default_tap="conv5",
        least_size=3,
    )

    def __init__(self, num_classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Dropout(0.5))
        self.conv2 = nn.Conv2d(width, 4, 1, groups=2)
        self.conv3 = nn.Conv2d(4, 4, 1)
        self.conv4 = nn.Conv2d(4, 4, 1, bias=False)
        self.conv5 = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, affine=False))
        self.fc6 = nn.Linear(4, 5)
        self.drop6 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(5, 5)
        self.fc8 = nn.Linear(5, num_classes)
        self.register_buffer("cache", torch.zeros(2), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        features = images
        for name in ("conv1", "conv2", "conv3", "conv4", "conv5"):
            features = getattr(self, name)(features).relu()
        return self.fc8(self.fc7(self.drop6(self.fc6(features.mean((2, 3))))).relu())


def _small(seed: int, num_classes: int = 3) -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Small(num_classes)
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point():
                tensor.normal_()
            else:
                tensor.fill_(seed)
    return network


def _bits(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def written(name: str, network: nn.Module) -> TransferRule:
    """The rule of conf/transfer/NAME.yaml."""
    content = yaml.safe_load((CONF / "transfer" / f"{name}.yaml").read_text())
    return transfer_rule(**content, network=specification(network))


def _transfer(
    network: nn.Module, weights: Mapping[str, Tensor], rule: str | TransferRule = "feature", seed: int = 7
) -> TransferReport:
    chosen = written(rule, network) if isinstance(rule, str) else rule
    return apply_transfer(network, weights, chosen, scheme="lecun_normal", seed=seed, source="parent.ckpt")


def test_the_rules() -> None:
    rules = {name: written(name, Small()) for name in FRESH}
    assert {name: set(rule.reinitialised) for name, rule in rules.items()} == FRESH
    assert {name: set(rule.frozen) for name, rule in rules.items() if rule.frozen} == FROZEN
    assert all(rule.name == name for name, rule in rules.items())


@pytest.mark.parametrize("rule", FRESH)
def test_kept_bits_fresh_layers_and_report(rule: str) -> None:
    parent, child = _small(1, num_classes=9), _small(2, num_classes=3)
    source = _bits(parent)
    report = _transfer(child, source, rule)
    after = child.state_dict()
    parameters = dict(child.named_parameters())
    assert report.rule == rule
    assert report.source == "parent.ckpt"
    assert set(report.kept) == {name for name in parameters if name.split(".")[0] not in FRESH[rule]}
    assert list(report.kept + report.reinitialised) == list(parameters)
    assert report.kept_buffers == tuple(name for name in after if name not in parameters)
    assert not report.reinitialised_buffers
    assert not report.rounded
    assert report.ignored == tuple(sorted(name for name in source if name.split(".")[0] in FRESH[rule]))
    for name in report.kept + report.kept_buffers:
        assert torch.equal(after[name], source[name]), name
    for name in report.reinitialised:
        assert after[name].shape != source[name].shape or not torch.equal(after[name], source[name]), name
    frozen = FROZEN.get(rule, set())
    assert report.frozen == tuple(name for name in report.kept if name.split(".")[0] in frozen)
    assert (report.frozen == report.kept) == (rule == "finetune")
    assert {name for name, it in parameters.items() if not it.requires_grad} == set(report.frozen)
    assert [id(it) for it in trainable_parameters(child)] == [
        id(it) for name, it in parameters.items() if name not in report.frozen
    ]
    assert torch.equal(source["fc6.weight"], parent.state_dict()["fc6.weight"])  # the source is untouched


def test_a_rule_that_keeps_everything() -> None:
    source, child = _bits(_small(1)), _small(2)
    report = _transfer(child, source, TransferRule("all", ()))
    assert (report.reinitialised, report.ignored, report.frozen) == ((), (), ())
    assert all(torch.equal(tensor, source[name]) for name, tensor in child.state_dict().items())
    with pytest.raises(RelayError, match="re-initialises no layer:"):
        _transfer(_small(2, num_classes=9), source, TransferRule("all", ()))


def test_a_report_is_what_a_record_takes_and_survives_json() -> None:
    for report in (_transfer(_small(2), _bits(_small(1)), "finetune"), scratch_report(_small(1))):
        entries = report.as_dict()
        assert TransferRecord(**entries).model_dump() == json.loads(json.dumps(entries)) == entries
        assert entries["kept"] == list(report.kept)


def test_report_cannot_contradict_itself() -> None:
    for wrong in (
        {"kept": ("a",), "reinitialised": ("a",)},
        {"kept": ("a", "a"), "reinitialised": ()},
        {"kept": (), "reinitialised": ("a",), "frozen": ("a",)},
        {"kept": (), "reinitialised": ("a",), "rounded": ("a",)},
    ):
        with pytest.raises(RelayError, match="contradicts itself: a"):
            TransferReport("feature", "x", **wrong)


def test_scratch() -> None:
    network = _small(1)
    before = _bits(network)
    report = scratch_report(network)
    assert (report.rule, report.source, report.kept, report.frozen) == ("none", None, (), ())
    assert report.reinitialised == tuple(name for name, _ in network.named_parameters())
    assert set(report.reinitialised_buffers) == set(before) - set(report.reinitialised)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


# Every key is used, named by the rule, or an error.

KEYS = tuple(Small().state_dict())
STRANGE = (
    "conv1x.weight",
    "fc8x.weight",
    "head.weight",
    "fc8.more",
    "fc7.0.weight",
    "fc6.more",
    "conv5.1.more",
)


@given(
    rule=st.sampled_from(sorted(FRESH)),
    changes=st.dictionaries(
        st.sampled_from(KEYS), st.sampled_from(["drop", "rename", "move", "reshape"]), max_size=6
    ),
    extra=st.sets(st.sampled_from(STRANGE), max_size=3),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_stray_keys_are_named_or_the_ledger_is_complete(
    rule: str, changes: dict[str, str], extra: set[str]
) -> None:
    def named_by_rule(key: str) -> bool:
        return key.partition(".")[0] in FRESH[rule]

    source = _bits(_small(1))
    missing, unexpected, misshapen = set(), set(), set()
    for key, change in changes.items():
        tensor = source.pop(key)
        if change == "reshape":
            source[key] = torch.ones(2, *tensor.shape)
            misshapen |= {key} if not named_by_rule(key) else set()
            continue
        new = {"rename": f"{key}_renamed", "move": f"elsewhere.{key}"}.get(change)
        if new is not None:
            source[new] = tensor
            unexpected |= {new} if not named_by_rule(new) else set()
        missing |= {key} if not named_by_rule(key) else set()
    source |= {key: torch.ones(1) for key in extra}
    unexpected |= {key for key in extra if not named_by_rule(key)}

    network = _small(2)
    before = _bits(network)
    if missing or unexpected or misshapen:
        with pytest.raises(RelayError) as caught:
            _transfer(network, source, rule)
        found: dict[str, list[str]] = {"missing": [], "unexpected": [], "other shape": []}
        for kind, key in re.findall(r"^  ([a-z ]+): (\S+) \(", str(caught.value), flags=re.MULTILINE):
            found[kind].append(key)
        every = {"missing": missing, "unexpected": unexpected, "other shape": misshapen}
        assert found == {kind: sorted(keys)[:5] for kind, keys in every.items()}
        for kind, keys in every.items():
            assert (f"  {kind}: {len(keys) - 5} more" in str(caught.value)) == (len(keys) > 5)
        assert "parent.ckpt" in str(caught.value)
        assert "another architecture" in str(caught.value)
        assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
        assert all(parameter.requires_grad for parameter in network.parameters())
    else:
        report = _transfer(network, source, rule)
        ledger = report.kept + report.reinitialised + report.kept_buffers + report.reinitialised_buffers
        assert sorted(ledger) == sorted(KEYS)
        assert {name for name in ledger if named_by_rule(name)} == set(report.reinitialised)
        assert report.ignored == tuple(sorted(key for key in source if named_by_rule(key)))
        after = network.state_dict()
        assert all(torch.equal(after[key], source[key]) for key in report.kept + report.kept_buffers)


def test_error_gives_both_shapes() -> None:
    source = _bits(_small(1)) | {"fc6.weight": torch.ones(5, 8), "fc8.weight": torch.ones(1)}
    del source["conv1.1.running_var"]
    with pytest.raises(RelayError) as caught:
        _transfer(_small(2), source)
    lines = str(caught.value).splitlines()
    assert lines[1:3] == [
        "  missing: conv1.1.running_var (4,)",
        "  other shape: fc6.weight (5, 8) given, (5, 4) wanted",
    ]


def test_layer_unknown_to_the_network() -> None:
    network = _small(2)
    before = _bits(network)
    with pytest.raises(RelayError, match=r"'mine' names fc9, but the network has only conv1, .*fc8"):
        _transfer(network, _bits(_small(1)), TransferRule("mine", ("fc8", "fc9")))
    with pytest.raises(RelayError, match=r"'mine' names conv9, but the network has only conv1, .*fc8"):
        _transfer(network, _bits(_small(1)), TransferRule("mine", ("fc8",), frozen=("conv9",)))
    with pytest.raises(RelayError, match="initialisation is 'xavier'"):
        apply_transfer(
            network, _bits(_small(1)), written("feature", network), scheme="xavier", seed=1, source="x"
        )
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_tensor_outside_all_layers() -> None:
    network = _small(2)
    network.register_buffer("mean", torch.zeros(1))
    for call in (lambda: _transfer(network, _bits(_small(1))), lambda: scratch_report(network)):
        with pytest.raises(RelayError, match="mean"):
            call()


# Numbers of another type.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_exact_casts_are_exact(dtype: torch.dtype) -> None:
    source = {
        key: it.bfloat16().to(torch.float16).to(dtype) if it.is_floating_point() else it
        for key, it in _bits(_small(1)).items()
    }
    network = _small(2)
    report = _transfer(network, source)
    assert report.rounded == ()
    after = network.state_dict()
    for name in report.kept:
        assert after[name].dtype == torch.float32
        assert torch.equal(after[name].double(), source[name].double())


def test_rounding_is_reported() -> None:
    source = _bits(_small(1))
    source["conv3.bias"] = torch.tensor([0.1, 1.0, 2.0, 3.0], dtype=torch.float64)
    source["conv4.weight"] = source["conv4.weight"].double()
    network = _small(2)
    report = _transfer(network, source)
    assert report.rounded == ("conv3.bias",)
    assert network.conv3.bias[0].item() == 0.100000001490116119384765625  # the float32 nearest to 0.1


def test_numbers_that_cannot_be_cast() -> None:
    source = _bits(_small(1))
    source["conv3.bias"] = torch.full((4,), 1e39, dtype=torch.float64)
    source["fc6.bias"] = torch.ones(5, dtype=torch.int64)
    source["conv1.1.num_batches_tracked"] = torch.tensor(1.0)
    with pytest.raises(RelayError) as caught:
        _transfer(_small(2), source)
    assert str(caught.value).splitlines()[1:4] == [
        "  other type: conv1.1.num_batches_tracked torch.float32 given, torch.int64 wanted",
        "  other type: fc6.bias torch.int64 given, torch.float32 wanted",
        "  out of range: conv3.bias torch.float64 given, too large for torch.float32",
    ]


# Frozen means frozen.


def _step(network: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    loss = network(torch.randn(6, 1, 5, 5, generator=generator)).square().mean()
    assert torch.isfinite(loss)
    loss.backward()
    optimiser.step()


@pytest.mark.parametrize("everything", [True, False], ids=["all parameters", "trainable parameters"])
@pytest.mark.parametrize("rule", FROZEN)
def test_weight_decay_and_momentum_leave_frozen_bits(rule: str, everything: bool) -> None:
    torch.manual_seed(0)
    network = _small(2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    _step(network, optimiser, 0)  # leaves gradients and momentum behind
    source = _bits(_small(1))
    report = _transfer(network, source, rule)
    if not everything:
        optimiser = torch.optim.SGD(trainable_parameters(network), lr=0.1, momentum=0.9, weight_decay=0.1)
    set_train_mode(network, report)
    before = _bits(network)
    for seed in range(3):
        _step(network, optimiser, seed)
    after = network.state_dict()
    for name in after:
        frozen = name.split(".")[0] in FROZEN[rule]
        moving = frozen or name.endswith("num_batches_tracked")
        assert not frozen or torch.equal(after[name], source[name]), name
        assert moving or not torch.equal(after[name], before[name]), name


def test_feature_transfer_trains_everything() -> None:
    torch.manual_seed(0)
    network = _small(2)
    freeze(network, ["fc8.bias", "conv3.weight"])  # from an earlier use of the network
    report = _transfer(network, _bits(_small(1)), "feature")
    set_train_mode(network, report)
    assert all(module.training for module in network.modules())
    before = _bits(network)
    optimiser = torch.optim.SGD(trainable_parameters(network), lr=0.1, weight_decay=0.1)
    _step(network, optimiser, 0)
    assert [name for name, it in network.state_dict().items() if torch.equal(it, before[name])] == []


def test_refreezing_a_resumed_network() -> None:
    first = _small(2)
    report = _transfer(first, _bits(_small(1)), "finetune")
    resumed = _small(3)
    resumed.load_state_dict(first.state_dict())
    assert all(parameter.requires_grad for parameter in resumed.parameters())
    for _ in range(2):
        freeze(resumed, report)
        assert {name for name, it in resumed.named_parameters() if not it.requires_grad} == set(report.kept)
    set_train_mode(resumed, report)
    _step(resumed, torch.optim.SGD(resumed.parameters(), lr=0.1, weight_decay=0.1), 0)
    after = resumed.state_dict()
    assert all(
        torch.equal(after[name], first.state_dict()[name]) for name in report.kept + report.kept_buffers
    )


def test_freezing_unknown_names_changes_nothing() -> None:
    network = _small(1)
    with pytest.raises(RelayError, match=r"conv9\.bias, conv9\.weight"):
        freeze(network, iter(["conv1.0.weight", "conv9.weight", "conv9.bias"]))
    assert all(parameter.requires_grad for parameter in network.parameters())
    freeze(network, (name for name, _ in network.named_parameters()))
    with pytest.raises(RelayError, match="every parameter of the network is frozen"):
        trainable_parameters(network)


def test_modules_of_early_layers_stay_in_evaluation_mode() -> None:
    network = _small(2)
    set_train_mode(network, _transfer(network, _bits(_small(1)), "freeze_early"))
    resting = {name for name, module in network.named_modules() if not module.training}
    assert resting == {"conv1", "conv1.0", "conv1.1", "conv1.2", "conv2", "conv3"}


def test_frozen_modules_stay_in_evaluation_mode() -> None:
    network = _small(2)
    report = _transfer(network, _bits(_small(1)), "finetune")
    network.eval()
    set_train_mode(network, report)
    resting = {name for name, module in network.named_modules() if not module.training}
    assert resting == {
        *("conv1", "conv1.0", "conv1.1", "conv1.2", "conv2", "conv3", "conv4"),
        *("conv5", "conv5.0", "conv5.1", "fc6"),  # conv5.1 has statistics and no parameters
    }
    images = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.conv1(images), network.conv1(images))  # its dropout rests
    freeze(network, ["fc7.weight"])
    half = TransferReport("finetune", "x", ("conv1.0.weight", "fc7.weight"), (), frozen=("fc7.weight",))
    set_train_mode(network, half)
    assert all(module.training for module in network.modules())  # fc7 is frozen in part only


# The networks of the project.


@pytest.fixture(scope="module")
def parent() -> AlexNet:
    return AlexNet(num_classes=61, seed=1)


@pytest.mark.slow
def test_alexnet_feature(parent: AlexNet) -> None:
    source, scheme = parent.state_dict(), "caffe"  # not the default, so that it has to be passed on
    child = AlexNet(num_classes=7, seed=5)
    fresh = AlexNet(num_classes=7, initialisation=scheme, seed=9).state_dict()
    report = apply_transfer(child, source, written("feature", child), scheme=scheme, seed=9, source="parent")
    for name, tensor in child.state_dict().items():
        expected = fresh if name.startswith(("fc7", "fc8")) else source
        assert torch.equal(tensor, expected[name]), name
    assert not torch.equal(child.fc7.weight, parent.fc7.weight)
    sizes = {name: parameter.numel() for name, parameter in child.named_parameters()}
    assert (
        sum(sizes[name] for name in report.kept)
        == 34_944 + 307_456 + 885_120 + 663_936 + 442_624 + 37_752_832
    )
    assert sum(sizes[name] for name in report.reinitialised) == 16_781_312 + 7 * 4097


@pytest.mark.slow
def test_from_a_file_and_torchvision(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = torchvision_alexnet(num_classes=3).state_dict()
    torch.save(source, tmp_path / "alexnet.pth")
    weights = read_checkpoint(tmp_path / "alexnet.pth").tensors
    child = build_network("torchvision_alexnet", 7, seed=2)
    report = _transfer(child, weights, "finetune")
    fresh = {f"classifier.{number}.{kind}" for number in (4, 6) for kind in ("weight", "bias")}
    assert set(report.reinitialised) == fresh
    assert set(report.ignored) == fresh
    assert set(report.frozen) == set(source) - fresh
    after = child.state_dict()
    assert all(torch.equal(after[name], source[name]) for name in report.kept)
    set_train_mode(child, report)
    assert not child.get_submodule("features").training
    assert child.get_submodule("classifier.2").training


def test_checkpoint_of_another_architecture(parent: AlexNet) -> None:
    with pytest.raises(RelayError) as caught:
        _transfer(build_network("torchvision_alexnet", 7), parent.state_dict())
    message = str(caught.value)
    assert "missing: features.0.weight (64, 3, 11, 11)" in message
    assert "unexpected: conv1.weight (96, 3, 11, 11)" in message and "unexpected: 11 more" in message
    assert "another architecture" in message
