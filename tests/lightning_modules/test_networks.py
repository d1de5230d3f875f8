"""Every network's specification is true, and a new network is one file."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

import lightning_modules.networks
from analysis.explain.cka import layer_grams
from analysis.explain.layers import layer_names
from analysis.explain.sanity_checks import randomisations
from lightning_modules.build import build_network, specification
from lightning_modules.initialisation import initialise_layers
from lightning_modules.layers import first_convolution, layer_modules, layer_parameters
from lightning_modules.registry import network_names, specification_named
from lightning_modules.resolve import resolve
from lightning_modules.specification import Layer, Specification
from lightning_modules.start import build_module
from lightning_modules.transfer import set_train_mode, trainable_parameters
from lightning_modules.transfer_rule import transfer_rule
from stages.build import build_recipe
from stages.errors import RelayError
from stages.seeds import Seeds
from stages.store import Store
from tests.helpers.networks import resnet18
from tests.helpers.stage_helpers import CONF, composed, record_content, seal

KINDS = {
    "convolution": nn.Conv2d,
    "linear": nn.Linear,
    "normalisation": nn.BatchNorm2d,
    "block": nn.Module,
}


@pytest.fixture
def with_resnet18(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of networks with a folder more, in which there is one file more: resnet18.py."""
    folders = [*lightning_modules.networks.__path__, str(Path(resnet18.__file__).parent)]
    monkeypatch.setattr(lightning_modules.networks, "__path__", folders)


@pytest.fixture(params=[*network_names(), "resnet18"])
def name(request: pytest.FixtureRequest, with_resnet18: None) -> str:
    chosen: str = request.param
    return chosen


def test_the_networks() -> None:
    assert {"alexnet", "torchvision_alexnet"} <= set(network_names())


RULES = {path.stem: yaml.safe_load(path.read_text()) for path in (CONF / "transfer").glob("*.yaml")}
# Rules that name the layers of some networks alone; each says so in its file.
NAMED = {rule for rule, lists in RULES.items() if "-" in str([lists["reinitialise"], lists["freeze"]])}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_fits_the_networks_that_it_is_for(rule: str) -> None:
    refused = []
    for name in network_names():
        try:
            transfer_rule(**RULES[rule], network=specification_named(name))
        except RelayError:
            refused.append(name)
    assert len(refused) < len(network_names())
    assert not refused or rule in NAMED


@pytest.mark.parametrize("rule", sorted({"feature", "conv_only", "reuse_fc", "finetune"}))
def test_the_papers_rules_fit_any_network(name: str, rule: str) -> None:
    """The words of a rule are what the specification says, in any network."""
    described = specification_named(name)
    chosen = transfer_rule(**RULES[rule], network=described)
    assert chosen.reinitialised[-1] == described.head
    kept = tuple(layer for layer in described.layer_names if layer not in chosen.reinitialised)
    assert kept and chosen.frozen == (kept if rule == "finetune" else ())


def shapes_only(name: str) -> nn.Module:
    """The network without numbers, in no time."""
    with torch.device("meta"):
        return build_network(name, 7).eval()


def test_layers_are_what_the_specification_says(name: str) -> None:
    network = shapes_only(name)
    described = specification(network)
    assert described == specification_named(name)
    assert described.name == name
    assert tuple(layer_modules(network)) == tuple(layer_parameters(network)) == described.layer_names
    for layer in described.layers:
        assert isinstance(network.get_submodule(layer.path), KINDS[layer.kind]), layer.name
    head = layer_modules(network)[described.head]
    assert isinstance(head, nn.Linear) and head.out_features == 7
    assert layer_names(network).items() >= dict(described.taps).items()


def test_layers_and_taps_run_in_the_order_of_the_specification(name: str) -> None:
    network = shapes_only(name)
    described = specification(network)
    ran: list[str] = []

    def note(path: str) -> None:
        network.get_submodule(path).register_forward_hook(lambda *_: ran.append(path))

    for path in dict.fromkeys([*(layer.path for layer in described.layers), *described.taps.values()]):
        note(path)
    with torch.no_grad():
        network(torch.zeros(1, 3, described.least_size, described.least_size, device="meta"))
    places = [ran.index(layer.path) for layer in described.layers]
    assert places == sorted(places)
    for layer in described.layers:
        if layer.tap is not None:
            assert ran.index(described.taps[layer.tap]) >= ran.index(layer.path), layer.name
    assert set(described.taps.values()) <= set(ran)
    assert described.layer(described.head).tap is None


def test_the_least_size_is_the_least(name: str) -> None:
    network = shapes_only(name)
    least = specification(network).least_size
    with torch.no_grad():
        assert network(torch.zeros(1, 3, least, least, device="meta")).shape == (1, 7)
    with pytest.raises(RelayError, match=f"resize them to {least}x{least} px or more"):
        network(torch.zeros(1, 3, least, least - 1, device="meta"))


@pytest.mark.slow
def test_fresh_weights_depend_on_the_seed_and_each_layers_name_alone(name: str) -> None:
    width = 0.0625 if specification_named(name).scalable else 1.0
    network, again, other = (build_network(name, 7, width=width, seed=seed) for seed in (3, 3, 4))
    first = layer_parameters(network)
    described = specification(network)
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    learned = {key for key, value in network.named_parameters() if value.dim() > 1}
    assert learned
    for key in learned:
        assert not torch.equal(network.state_dict()[key], other.state_dict()[key]), key
    torch.manual_seed(99)  # torch's own generator has no say, and is left as it is
    state = torch.get_rng_state()
    some = described.layer_names[::3]
    initialise_layers(other, some, "lecun_normal", seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    for layer, keys in first.items():
        for key in keys:
            if key in learned:
                same = torch.equal(network.state_dict()[key], other.state_dict()[key])
                assert same == (layer in some), key


def test_copies_of_a_network_keep_their_specification(name: str) -> None:
    network = shapes_only(name)
    assert specification(copy.deepcopy(network)) == specification(network)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 11), ("torchvision_alexnet", 11), ("resnet18", 7)])
def test_first_convolution(with_resnet18: None, name: str, size: int) -> None:
    found = first_convolution(shapes_only(name))
    assert (found.in_channels, found.kernel_size) == (3, (size, size))


def test_a_network_that_is_not_scalable_comes_in_one_width(with_resnet18: None) -> None:
    with pytest.raises(
        RelayError, match=r"model\.width is 0\.5; resnet18 comes in one width.*choose model=.*alexnet"
    ):
        build_network("resnet18", 3, width=0.5)


def test_unknown_names_are_answered_with_similar_ones() -> None:
    with pytest.raises(RelayError, match=r"model\.name is 'alexnett'; did you mean alexnet"):
        specification_named("alexnett")
    with pytest.raises(
        RelayError, match=r"model\.name is 'vgg'; it must be one of alexnet, .*torchvision_alexnet, timm"
    ):
        build_network("vgg", 3)


def test_a_file_describes_the_network_of_its_own_name(
    with_resnet18: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = __import__("lightning_modules.networks.resnet18", fromlist=["SPECIFICATION"])
    monkeypatch.setattr(module, "SPECIFICATION", replace(resnet18.SPECIFICATION, name="resnet34"))
    with pytest.raises(RelayError, match=r"resnet18\.py describes a network named 'resnet34'"):
        specification_named("resnet18")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (Layer("a", "a", "linear"), Layer("a", "b", "linear")), "head": "a"}, "layer 'a'; each"),
        ({"layers": (Layer("a-b", "a", "linear"),), "head": "a-b"}, "layer 'a-b'; each name"),
        ({"head": "fc9"}, "the head 'fc9' is not one of its layers"),
        ({"classifier": "fc9"}, "the classifier 'fc9' is not one of its layers"),
        (
            {"layers": (Layer("head", "bn1", "normalisation"), Layer("fc", "fc", "linear"))},
            "named 'head'; in a",
        ),
        ({"default_tap": "pool9"}, "'pool9' is not one of its taps, relu, maxpool"),
        ({"layers": (Layer("fc", "fc", "linear", tap="relu9"),)}, "'relu9' is not one of its taps"),
    ],
)
def test_a_specification_cannot_contradict_itself(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        replace(resnet18.SPECIFICATION, **changes)  # type: ignore[arg-type]


def test_a_layer_without_parameters_is_not_one() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    described = Specification(
        name="tiny",
        layers=(Layer("fc", "0", "linear"), Layer("norm", "1", "normalisation")),
        head="fc",
        taps={"fc": "0"},
        default_tap="fc",
        least_size=1,
    )
    network.specification = described  # type: ignore[assignment]
    with pytest.raises(RelayError, match="tiny: layer norm has no parameters"):
        layer_parameters(network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "bn1"}, r"resnet18\.py describes bn1 as convolution, but in the network it is BatchNorm2d"),
        ({"path": "conv9"}, r"resnet18\.py describes conv9 as convolution, but in the network it is nothing"),
    ],
)
def test_a_description_of_other_modules_is_refused(
    with_resnet18: None, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    module = __import__("lightning_modules.networks.resnet18", fromlist=["SPECIFICATION"])
    first, *others = resnet18.SPECIFICATION.layers
    wrong = replace(resnet18.SPECIFICATION, layers=(replace(first, **changes), *others[1:]))
    monkeypatch.setattr(module, "SPECIFICATION", wrong)
    monkeypatch.setattr(module, "build", lambda *_, **__: ResNet(BasicBlock, [2, 2, 2, 2]))
    with torch.device("meta"), pytest.raises(RelayError, match=message):
        build_network("resnet18", 2)


# --- a new network, from its file to a child and to its analysis -------------------------------------------


@pytest.mark.slow
def test_a_new_network_is_trained_transferred_and_analysed(with_resnet18: None, tmp_path: Path) -> None:
    typed = (
        "+stage=dld",
        "model.name=resnet18",
        "model.width=1",
        "transfer.name=mine",
        "transfer.reinitialise=[layer4.1-fc]",
    )
    config = resolve(composed(*typed, "transfer.freeze=[conv1-layer1.1]"), True)
    frozen = ("conv1", "bn1", "layer1.0", "layer1.1")
    assert (config.transfer.reinitialise, config.transfer.freeze) == (("layer4.1", "fc"), frozen)
    with pytest.raises(RelayError, match=r"data\.image_size is 31; resnet18 takes images of 32 px or more"):
        resolve(composed(*typed, "data.image_size=31"), False)
    usual = resolve(composed("+stage=dld", "model.name=resnet18", "model.width=1"), True)
    assert (usual.transfer.reinitialise, usual.transfer.freeze) == (("fc",), ())
    with pytest.raises(RelayError, match=r"reinitialise of the rule feature is 'fc7'; did you mean fc\?"):
        resolve(
            composed("+stage=dld", "model.name=resnet18", "model.width=1", "transfer.reinitialise=[fc7]"),
            True,
        )

    recipes = [build_recipe(config, data_digest="b" * 64, parent=parent) for parent in (None, "a" * 64)]
    parent = build_module(recipes[0], Seeds.of(1), (1, 1, 1), None)
    with torch.no_grad():
        for _ in range(2):  # its normalisations have seen something
            parent.network.train()(images(8))
    source = Store(tmp_path).folder(recipes[0].stage, recipes[0].id)
    weights = source.weights
    source.path.mkdir(parents=True)
    torch.save(parent.network.state_dict(), weights)
    source.record.write_text(json.dumps(record_content(recipes[0], ["dld"])))
    seal(source)

    child = build_module(recipes[1], Seeds.of(2), (1, 1, 1, 1, 1), weights)
    fresh = {name for name in child.report.reinitialised if name.startswith(("layer4.1.", "fc."))}
    assert fresh == set(child.report.reinitialised)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    buffers = {f"layer4.1.bn{number}.{kind}" for number in (1, 2) for kind in statistics}
    assert set(child.report.reinitialised_buffers) == buffers
    before = {key: value.clone() for key, value in parent.network.state_dict().items()}
    optimiser = torch.optim.SGD(trainable_parameters(child.network), lr=0.1)
    set_train_mode(child.network, child.report)
    nn.functional.cross_entropy(child.network(images(4)), torch.arange(4)).backward()
    optimiser.step()
    for key, value in child.network.state_dict().items():
        kept = value.shape == before[key].shape and torch.equal(value, before[key])
        assert kept == key.startswith(tuple(f"{layer}." for layer in frozen)), key

    taps = list(specification(child.network).feature_taps.values())
    grams = layer_grams(child.network, images(4), taps)
    assert (
        list(grams)
        == taps
        == ["relu", *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))]
    )
    steps = randomisations(child.network, ["layer4.0", "fc"], "lecun_normal", seed=9)
    assert [name for name, _ in steps] == ["fc", "layer4.0"]


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
