"""timm's networks: described by what timm says, built with its weights, transferred like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from analysis.explain.layers import activations
from lightning_modules.backbones import backbone_specification, check_size
from lightning_modules.build import build_model, build_network, specification
from lightning_modules.initialisation import initialise_layers
from lightning_modules.layers import first_convolution, layer_parameters
from lightning_modules.registry import specification_of
from lightning_modules.resolve import network_notes, resolve
from lightning_modules.start import build_module
from lightning_modules.synchronised import synchronise
from lightning_modules.transfer import apply_transfer, set_train_mode, trainable_parameters
from lightning_modules.transfer_rule import TransferRule, transfer_rule
from stages.errors import RelayError
from stages.recipe import Model
from stages.seeds import Seeds
from tests.helpers.stage_helpers import composed, plan_of, recipe, request

# One of some designs; the slow test has more.
FEW = ("test_resnet", "test_vit", "test_efficientnet", "test_convnext", "vgg11", "levit_128s")
SMALL = ("test", "atto", "femto", "pico", "nano", "xxs", "tiny", "_t", "_s", "18", "small")


def model(architecture: str, **changes: Any) -> Model:
    usual = {"name": "timm", "dropout": 0.0, "initialisation": "timm", "width": 1.0}
    return Model(**(usual | {"architecture": architecture} | changes))


def images(count: int, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def check_description(architecture: str) -> None:
    """What a specification says is true of the network, on the meta device."""
    described = backbone_specification(architecture)
    with torch.device("meta"):
        network = build_model(model(architecture), 5).eval()
    state = network.state_dict()
    layers = layer_parameters(network)  # refuses a layer without parameters
    assert sorted(key for keys in layers.values() for key in keys) == sorted(state)
    assert tuple(layers) == described.layer_names
    # timm's own way to replace a head says which parameters it has
    wider = timm.create_model(architecture, num_classes=6).state_dict() if network.num_classes else {}
    changed = {key for key, tensor in state.items() if wider[key].shape != tensor.shape}
    heads = {key for head in described.words["head"] for key in layers[head]}
    assert changed and changed <= heads
    assert described.layer_names[-len(described.words["head"]) :] == described.words["head"]
    assert described.input is not None and described.default_tap in described.taps
    size = described.input.size
    (found,) = activations(network, torch.zeros(1, 3, size, size, device="meta"), list(described.taps))
    assert list(found) and all(features.dim() >= 2 for features in found.values())


@pytest.mark.parametrize("architecture", FEW)
def test_a_description_is_true(architecture: str) -> None:
    with torch.device("meta"):
        check_description(architecture)


@pytest.mark.slow
def test_a_network_of_every_eighth_of_timms_families() -> None:
    """All 98 of them take minutes."""
    refused = {}
    for family in timm.list_modules()[::8]:
        names = timm.list_models(module=family)
        if not names:
            continue
        small = min(names, key=lambda name: (not any(word in name for word in SMALL), len(name), name))
        try:
            with torch.device("meta"):
                check_description(small)
        except RelayError as error:
            refused[small] = str(error)
    assert len(refused) < 5, refused
    assert all("classifier" in reason for reason in refused.values()), refused


def test_resnet18_by_hand() -> None:
    described = backbone_specification("resnet18.tv_in1k")
    blocks = tuple(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))
    assert described.layer_names == ("conv1", "bn1", *blocks, "fc")
    assert [layer.kind for layer in described.layers] == [
        "convolution", "normalisation", *["block"] * 8, "linear"
    ]  # fmt: skip
    assert (described.head, described.default_tap) == ("fc", "layer4")
    assert described.feature_taps == {"bn1": "act1", **{block: block for block in blocks}}
    assert described.taps["pooled"] == "global_pool"
    assert described.input is not None
    assert (described.input.size, described.input.reduction) == (224, 32)
    assert described.input.mean == (0.485, 0.456, 0.406) and described.input.std == (0.229, 0.224, 0.225)
    with torch.device("meta"):
        assert first_convolution(build_model(model("resnet18.tv_in1k"), 2)).kernel_size == (7, 7)


def test_tokens_and_positions_are_a_layer_where_they_are_used() -> None:
    described = backbone_specification("test_vit")
    assert described.layer_names[:3] == ("patch_embed", "embedding", "blocks.0")
    with torch.device("meta"):
        network = build_model(model("test_vit"), 2)
    assert layer_parameters(network)["embedding"] == ("cls_token", "pos_embed")


# --- rules -------------------------------------------------------------------------------------------------


def rule_of(architecture: str, fresh: list[str], freeze: list[str]) -> TransferRule:
    return transfer_rule("mine", fresh, freeze, backbone_specification(architecture))


def test_starts_of_names_and_ranges_of_them() -> None:
    rule = rule_of("resnet18", ["layer4.1-fc"], ["conv1-layer2"])
    assert rule.reinitialised == ("layer4.1", "fc")
    assert rule.frozen == ("conv1", "bn1", "layer1.0", "layer1.1", "layer2.0", "layer2.1")
    assert rule_of("resnet18", ["layer4"], []).reinitialised == ("layer4.0", "layer4.1")
    assert rule_of("vgg11", ["classifier"], ["features"]).frozen[-1] == "pre_logits"  # the word comes first
    both = ("head", "head_dist")
    assert rule_of("deit_tiny_distilled_patch16_224", ["head"], []).reinitialised == both


def test_linear_means_nothing_where_features_are_linear() -> None:
    assert rule_of("resnet18", ["linear"], []).reinitialised == ("fc",)
    assert rule_of("test_convnext", ["linear"], []).reinitialised == ("head.fc",)
    with pytest.raises(RelayError, match=r"linear, but of test_vit: .* blocks\.0 to blocks\.5 are of"):
        rule_of("test_vit", ["linear"], [])


@pytest.mark.parametrize(
    ("architecture", "pattern", "message"),
    [
        ("resnet18", "layer5", r"'layer5'; did you mean layer4"),
        ("resnet18", "layer4.2", r"'layer4\.2'; did you mean layer4"),
        ("resnet18", "layer2-conv1", r"conv1 comes before layer2: write conv1-layer2"),
        ("densenet121", "denseblock1", r"layers of densenet121 begin with features, classifier, and"),
    ],
)
def test_a_layer_that_is_not_there(architecture: str, pattern: str, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        rule_of(architecture, [], [pattern])


# --- weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
def test_fresh_weights_are_timms_and_a_layers_are_a_new_networks(architecture: str) -> None:
    torch.manual_seed(5)
    expected = timm.create_model(architecture, num_classes=4).state_dict()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    network, other = (build_model(model(architecture), 4, seed) for seed in (5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in network.state_dict().items())
    some = specification(other).layer_names[1::2]
    initialise_layers(other, some, "timm", 5)
    assert torch.equal(torch.get_rng_state(), before)
    for layer, keys in layer_parameters(other).items():
        drawn = [key for key in keys if expected[key].unique().numel() > 1]  # zeros and ones are none
        for key in drawn:
            assert torch.equal(other.state_dict()[key], expected[key]) == (layer in some), key


def test_frozen_normalisations_keep_their_statistics() -> None:
    parent, child = (build_model(model("test_resnet"), 3, seed) for seed in (1, 2))
    with torch.no_grad():
        parent.train()(images(4))
    rule = rule_of("test_resnet", ["classifier"], ["features"])
    weights = {key: tensor.clone() for key, tensor in parent.state_dict().items()}
    report = apply_transfer(child, weights, rule, scheme="timm", seed=2, source="parent")
    counts = [key for key in report.kept_buffers if key.endswith("num_batches_tracked")]
    assert counts and all(int(child.state_dict()[key]) == 1 for key in counts)
    set_train_mode(child, report)
    optimiser = torch.optim.SGD(trainable_parameters(child), lr=0.1)
    nn.functional.cross_entropy(child(images(4)), torch.tensor([0, 1, 2, 0])).backward()
    optimiser.step()
    for key, tensor in child.state_dict().items():
        assert torch.equal(tensor, weights[key]) == (not key.startswith("fc.")), key


def test_dropout_is_timms() -> None:
    network = build_model(model("test_resnet", dropout=0.25), 3)
    assert network.drop_rate == 0.25


# --- the input ---------------------------------------------------------------------------------------------


def test_what_is_null_is_what_timm_says() -> None:
    typed = ("+stage=dld", "model=timm", "model.architecture=test_vit")
    config = resolve(composed(*typed, "data.image_size=null"), False)
    assert (config.data.image_size, config.data.mean, config.data.std) == (160, (0.5,) * 3, (0.5,) * 3)
    set_by_hand = composed(*typed, "data.image_size=160", "data.mean=[0,0,0]", "data.std=[1,1,1]")
    assert resolve(set_by_hand, False).data == set_by_hand.data
    assert resolve(composed("+stage=dld"), False).data.mean is None
    with pytest.raises(RelayError, match=r"data\.image_size is null, and alexnet has no size of its own"):
        resolve(composed("+stage=dld", "data.image_size=null"), False)


def test_a_size_that_a_network_does_not_take() -> None:
    fixed = composed("+stage=dld", "model=timm", "model.architecture=vit_tiny_patch16_224")
    with pytest.raises(RelayError, match=r"data\.image_size is 64, which vit_tiny.* does not take .*=224"):
        resolve(fixed, False)
    with pytest.raises(RelayError, match=r"data\.image_size is 16, which vgg11 does not take .*=224"):
        check_size("vgg11", 16)
    check_size("test_resnet", 33)


def test_notes_of_a_plan() -> None:
    network = ("model=timm", "model.architecture=resnet18")

    def notes(rules: tuple[str, ...], *typed: str) -> list[str]:
        overrides = (*network, "init_from=conf/train.yaml", *typed)
        asked = [request("dld", rule=rule, overrides=overrides) for rule in rules]
        return network_notes(plan_of(*asked).runs.values())

    assert notes(("feature", "reuse_fc"), "data.image_size=224") == [
        "resnet18: images are normalised as timm says of it, mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        "in resnet18 the transfer rules feature and reuse_fc are the same",
    ]
    said = " ".join(notes(("feature",), "data.image_size=80", "data.mean=[0,0,0]", "data.std=[1,1,1]"))
    assert "made for images of 224 px (data.image_size=80)" in said and "80 is no multiple" in said
    assert "normalised" not in said
    assert "last features have one place" in " ".join(notes(("feature",), "data.image_size=48"))


# --- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet81"}, r"'resnet81'; did you mean .*resnet18.* timm .* has 1,"),
        ({"architecture": "resnet18.tv"}, r"timm's resnet18 has the tags .*tv_in1k"),
        ({"architecture": "hf-hub:x/y"}, r"'hf-hub:x/y'; "),
        ({"architecture": None}, r"model\.architecture is null; model=timm takes"),
        ({"initialisation": "lecun_normal"}, r"set model\.initialisation=timm"),
        ({"name": "alexnet", "initialisation": "lecun_normal"}, r"alexnet is one network: add model=timm"),
        ({"name": "alexnet", "architecture": None}, r"initialisation is timm, but alexnet is a network of"),
        ({"name": "tim"}, r"model\.name is 'tim'; did you mean timm"),
    ],
)
def test_networks_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        specification_of(replace(model("resnet18"), **changes)) if changes.get("name") != "tim" else (
            build_network("tim", 2)
        )


@pytest.mark.skipif(
    not timm.is_model("gemma4_vit_167m_enc"),
    reason="each network of this timm has a classifier; 1.0.31 has others",
)
def test_a_network_without_a_classifier() -> None:
    with pytest.raises(RelayError, match=r"gemma4_vit_167m_enc, which .*classifier"):
        backbone_specification("gemma4_vit_167m_enc")


def test_a_network_of_timms_has_one_width_whatever_an_experiment_sets() -> None:
    with pytest.raises(RelayError, match=r"model\.width is 0\.5; test_resnet comes in one width"):
        build_model(model("test_resnet", width=0.5), 2)
    typed = ("experiment=real_small", "model=timm", "model.architecture=test_resnet")
    plans = [plan_of(request("dld", overrides=(*typed, *more))) for more in ((), ("model.width=1",))]
    assert plans[0].runs.keys() == plans[1].runs.keys()
    (run,) = plans[0].runs.values()
    assert run.recipe.model.width == 1
    notes = [network_notes(plan.runs.values()) for plan in plans]
    assert [note for note in notes[0] if note not in notes[1]] == [
        "model.width=0.25 is not used: test_resnet has one width"
    ]


def test_a_network_that_drops_no_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network without timm's argument is built without it, and refused where units are to be dropped."""
    create = timm.create_model

    def without(name: str, **options: Any) -> nn.Module:
        if "drop_rate" in options:
            raise TypeError("ResNet.__init__() got an unexpected keyword argument 'drop_rate'")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", without)
    with torch.device("meta"):
        assert build_model(model("test_resnet"), 3).num_classes == 3
        with pytest.raises(
            RelayError, match=r"model\.dropout is 0\.5, but timm's test_resnet drops no units"
        ):
            build_model(model("test_resnet", dropout=0.5), 3)


def test_a_last_batch_of_one_image() -> None:
    """Of 32 px the last stage of a ResNet has one place, so that one image is one number of each channel."""
    usual = recipe(parent=None, transfer=None, model=model("test_resnet"))

    def build(size: int, counts: tuple[int, ...], batch: int, **changes: Any) -> None:
        data = replace(usual.data, image_size=size)
        optim = replace(usual.optim, batch_size=batch, **changes)
        build_module(usual.model_copy(update={"data": data, "optim": optim}), Seeds.of(0), counts, None)

    with pytest.raises(
        RelayError, match=r"batch_size=4 .* leaves one image .* of 9 .* try optim.batch_size=5"
    ):
        build(16, (4, 5), 4)
    build(16, (4, 5), 4, sampling="balanced")  # ten
    build(16, (4, 4), 4)
    with pytest.raises(RelayError, match=r"optim.accumulate=4 leaves one image .* try optim.batch_size=8"):
        build(16, (4, 4), 4, accumulate=4)
    build(64, (4, 5), 4)


# --- several processes -------------------------------------------------------------------------------------


def test_normalisations_of_several_processes() -> None:
    network = build_model(model("test_efficientnet"), 3).eval()
    expected, keys = network(images(2)), list(network.state_dict())
    with pytest.raises(RelayError, match=r"batch normalisations \(bn1 and .* more\).*trainer\.devices=1"):
        synchronise(network, torch.device("cpu"))
    synchronise(network, torch.device("cuda"))
    norms = nn.modules.batchnorm._BatchNorm
    assert all(isinstance(part, nn.SyncBatchNorm) for part in network.modules() if isinstance(part, norms))
    assert list(network.state_dict()) == keys
    torch.testing.assert_close(network(images(2)), expected)  # its activations are still there
    synchronise(build_network("alexnet", 2, width=0.0625), torch.device("cpu"))
