"""AlexNet of 2012: its layers, its parameters, its arithmetic, and how its weights begin."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_modules.alexnet import AlexNet
from lightning_modules.build import build_network
from lightning_modules.initialisation import initialise, initialise_layers
from lightning_modules.layers import layer_modules, layer_parameters
from lightning_modules.specification import Layer
from stages.errors import RelayError

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
COUNTS = {
    "conv1": 34_944,
    "conv2": 307_456,
    "conv3": 885_120,
    "conv4": 663_936,
    "conv5": 442_624,
    "fc6": 37_752_832,
    "fc7": 16_781_312,
    "fc8": 4_097_000,
}
FAN_IN = {  # inputs of one output, by hand: channels of a group x height x width
    "conv1": 3 * 11 * 11,
    "conv2": 48 * 5 * 5,
    "conv3": 256 * 3 * 3,
    "conv4": 192 * 3 * 3,
    "conv5": 192 * 3 * 3,
    "fc6": 256 * 6 * 6,
    "fc7": 4096,
    "fc8": 4096,
}
ORDER = [
    *("conv1", "relu1", "norm1", "pool1"),
    *("conv2", "relu2", "norm2", "pool2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"),
    *("adapt", "flatten", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"),
]


@pytest.fixture(scope="module")
def network():
    return build_network("alexnet", num_classes=10, seed=3)


@pytest.fixture
def meta():
    with torch.device("meta"):
        return AlexNet()


def images(size, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_parameters_by_layer(meta):
    counted = {
        name: sum(p.numel() for p in layer.parameters()) for name, layer in layer_modules(meta).items()
    }
    assert counted == COUNTS
    assert sum(p.numel() for p in meta.parameters()) == 60_965_224


def test_names_of_the_state_dict(meta):
    expected = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]
    assert list(meta.state_dict()) == expected
    assert layer_parameters(meta) == {layer: (f"{layer}.weight", f"{layer}.bias") for layer in LAYERS}


def test_every_operation_is_a_module_of_its_own(meta):
    assert [name for name, _ in meta.named_children()] == ORDER
    assert len({id(module) for module in meta.children()}) == len(ORDER)
    assert not any(getattr(module, "inplace", False) for module in meta.modules())


@pytest.mark.parametrize(
    ("size", "pools"),
    [(63, (7, 3, 1)), (64, (7, 3, 1)), (96, (11, 5, 2)), (224, (27, 13, 6)), (300, (36, 17, 8))],
)
def test_feature_maps(meta, size, pools):
    seen = {}
    for name, module in meta.named_children():
        module.register_forward_hook(lambda _, __, y, name=name: seen.__setitem__(name, tuple(y.shape)))
    assert meta(torch.empty(2, 3, size, size, device="meta")).shape == (2, 1000)
    assert tuple(seen) == tuple(ORDER)
    assert tuple(seen[name][-1] for name in ("pool1", "pool2", "pool5")) == pools
    assert seen["adapt"] == (2, 256, 6, 6)


def test_the_pool_to_six_is_the_identity_at_224():
    x = torch.rand(2, 256, 6, 6)
    with torch.device("meta"):
        adapt = AlexNet().adapt
    assert torch.equal(adapt(x), x)


@pytest.mark.parametrize("size", [64, 96])
def test_forward_is_the_papers_written_plainly(network, size):
    """Section 3 with torch's functions; alpha 5e-4 because torch divides it by n = 5."""
    w = network.state_dict()

    def conv(x, name, **options):
        return functional.relu(functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **options))

    def norm(x):
        return functional.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)

    def pool(x):
        return functional.max_pool2d(x, 3, 2)

    with torch.no_grad():
        x = pool(norm(conv(images(size), "conv1", stride=4, padding=2)))
        x = pool(norm(conv(x, "conv2", padding=2, groups=2)))
        x = conv(x, "conv3", padding=1)
        x = conv(x, "conv4", padding=1, groups=2)
        x = pool(conv(x, "conv5", padding=1, groups=2))
        x = functional.adaptive_avg_pool2d(x, 6).flatten(1)
        x = functional.relu(functional.linear(x, w["fc6.weight"], w["fc6.bias"]))
        x = functional.relu(functional.linear(x, w["fc7.weight"], w["fc7.bias"]))
        expected = functional.linear(x, w["fc8.weight"], w["fc8.bias"])
        network.eval()
        torch.testing.assert_close(network(images(size)), expected, rtol=1e-4, atol=1e-6)


def test_groups_keep_their_halves_apart(meta):
    assert {n: m.groups for n, m in layer_modules(meta).items() if isinstance(m, nn.Conv2d)} == {
        "conv1": 1,
        "conv2": 2,
        "conv3": 1,
        "conv4": 2,
        "conv5": 2,
    }


def test_dropout_is_at_fc6_and_fc7_while_training_only(network):
    assert (network.drop6.p, network.drop7.p) == (0.5, 0.5)
    x = images(64)
    with torch.no_grad():
        network.eval()
        assert torch.equal(network(x), network(x))
        network.train()
        assert not torch.equal(network(x), network(x))


def test_too_small_images_name_the_least_size(meta):
    assert meta.specification.least_size == 63
    with pytest.raises(RelayError, match=r"62x100 px vanish.*63x63"):
        meta(torch.empty(2, 3, 62, 100, device="meta"))
    with pytest.raises(RelayError, match=r"\(2, 1, 64, 64\); give \(N, 3, height, width\)"):
        meta(torch.empty(2, 1, 64, 64, device="meta"))
    with pytest.raises(RelayError, match=r"\(3, 64, 64\)"):
        meta(torch.empty(3, 64, 64, device="meta"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "0 classes"),
        ({"in_channels": 0}, "0 channels"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"normalisation": "batch"}, "'batch'.*lrn, torch_lrn, none"),
        (
            {"initialisation": "orthogonal"},
            "^initialisation is 'orthogonal'.*lecun_normal, krizhevsky, caffe",
        ),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with torch.device("meta"), pytest.raises(RelayError, match=message):
        AlexNet(**arguments)


def test_unknown_networks_and_layers_are_refused(network):
    with pytest.raises(RelayError, match=r"'resnet'.*alexnet, .*torchvision_alexnet"):
        build_network("resnet", 10)
    before = network.fc8.weight.detach().clone()
    with pytest.raises(RelayError, match="no layer fc9; the layers are conv1"):
        initialise_layers(network, ["fc8", "fc9"], "caffe", 0)
    assert torch.equal(network.fc8.weight, before)
    with pytest.raises(RelayError, match="Linear has no `specification`"):
        layer_parameters(nn.Linear(2, 2))


def test_a_parameter_of_no_layer_is_an_error(meta):
    meta.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(RelayError, match="scale belong to no layer"):
        layer_parameters(meta)


def test_a_parameter_of_two_layers_is_an_error(meta):
    layers = (*AlexNet.specification.layers, Layer("fc9", "fc8", "linear"))
    meta.specification = replace(AlexNet.specification, layers=layers)
    with pytest.raises(RelayError, match=r"fc8\.bias, fc8\.weight belong to several"):
        layer_parameters(meta)


def test_lecun_normal_has_the_variance_of_one_over_fan_in(network):
    for name, layer in layer_modules(network).items():
        spread, count = FAN_IN[name] ** -0.5, layer.weight.numel()
        assert layer.weight.std().item() == pytest.approx(spread, rel=5 / (2 * count) ** 0.5)
        assert abs(layer.weight.mean().item()) < 5 * spread / count**0.5
        assert layer.weight.abs().max() > 3 * spread  # not truncated at two deviations
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("scheme", "narrow", "raised"), [("krizhevsky", 0.01, 1.0), ("caffe", 0.005, 0.1)], ids=["2012", "caffe"]
)
def test_schemes_of_krizhevsky_and_caffe(scheme, narrow, raised):
    for name in LAYERS:
        layer = nn.Linear(300, 200)
        initialise(layer, AlexNet.specification.layer(name), scheme, seed=0)
        assert layer.weight.std().item() == pytest.approx(
            narrow if name in ("fc6", "fc7") else 0.01, rel=0.02
        )
        bias = raised if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0
        assert torch.equal(layer.bias, torch.full((200,), bias))


def test_one_layer_alone_gets_what_it_gets_among_all(network):
    other = copy.deepcopy(network)
    with torch.no_grad():
        for layer in ("fc8", "conv2", "conv5"):
            other.get_submodule(layer).weight.zero_()
    torch.manual_seed(99)  # torch's own generator has no say
    initialise_layers(other, ["conv5", "fc8"], "lecun_normal", seed=3)
    initialise_layers(other, ["conv2"], "lecun_normal", seed=3)
    for key, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    initialise_layers(other, ["fc8"], "lecun_normal", seed=4)
    assert not torch.equal(other.fc8.weight, network.fc8.weight)


def test_layers_of_one_shape_differ_and_memory_format_does_not_matter():
    def weight(name, memory_format=torch.contiguous_format):
        layer = nn.Conv2d(8, 8, 3).to(memory_format=memory_format)
        initialise(layer, AlexNet.specification.layer(name), "lecun_normal", 0)
        return layer.weight

    assert torch.equal(weight("conv4"), weight("conv4", torch.channels_last))
    assert not torch.equal(weight("conv4"), weight("conv5"))
    assert not torch.equal(weight("conv4")[0], weight("conv4")[1])


def test_layers_without_a_scheme_are_refused():
    with pytest.raises(RelayError, match="conv1 is a ReLU"):
        initialise(nn.ReLU(), AlexNet.specification.layers[0], "caffe", 0)


@pytest.mark.slow
def test_two_runs_from_one_seed_end_with_the_same_bits():
    network = build_network("alexnet", num_classes=10, width=0.5, seed=3)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        results = [trained(copy.deepcopy(network)) for _ in range(2)]
    finally:
        torch.set_num_threads(threads)
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key]), key


def trained(network):
    network = network.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, fused=True)
    torch.manual_seed(0)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(network(images(63, 4)), torch.arange(4))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return network.state_dict()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own deprecations are not ours to fix
def test_compiled_without_a_graph_break(network):
    torch._dynamo.reset()
    network.eval()
    with torch.no_grad():
        compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(images(64)), network(images(64)), rtol=1e-5, atol=1e-6)
