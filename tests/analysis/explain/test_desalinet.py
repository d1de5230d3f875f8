"""Backward paths against captum, torch's autograd, plain loops and cases worked by hand."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from analysis.explain.choices import Rule
from analysis.explain.desalinet import Signal, backward, channel, strongest
from lightning_modules.alexnet import Normalisation
from tests.helpers.backward_references import (
    autograds,
    draw,
    elsewhere,
    plain,
    small_alexnet,
    with_random_biases,
)

RULES: tuple[Rule, ...] = ("desalinet", "saliency", "deconvnet")
LAYERS = ("conv1", "relu2", "conv4", "pool5", "adapt", "fc6", "relu7")


def small_convolution() -> nn.Sequential:
    """Two outputs: 2 and -3 times the only channel."""
    layer = nn.Conv2d(1, 2, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(layer.weight[0], 2.0)
    nn.init.constant_(layer.weight[1], -3.0)
    return nn.Sequential(layer)


def nested() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Sequential(nn.AvgPool2d(2)))
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(6 * 3 * 3, 8), nn.ReLU(), nn.Linear(8, 3))
    network = nn.Sequential(
        nn.Conv2d(2, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2), block, nn.Flatten(), head
    )
    for seed, parameter in enumerate(network.parameters()):
        nn.init.normal_(parameter, 0.05, 0.3, generator=torch.Generator().manual_seed(seed))
    return network


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layer", LAYERS)
def test_on_alexnet_without_normalisation_the_bits_are_captums_and_autograds(layer: str, rule: Rule) -> None:
    network, images = small_alexnet(dtype=torch.float32), draw(2, 3, 67, 95, dtype=torch.float32)
    found = backward(network, images, layer, rule)
    assert torch.equal(found, elsewhere(network, images, layer, rule))
    assert (found != 0).any(dim=(1, 2, 3)).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layer", ["0", "1", "2", "3.0", "3.2", "3", "4", "5.1", "5"])
def test_on_nested_modules_the_bits_are_captums_and_autograds(layer: str, rule: Rule) -> None:
    network, images = nested(), draw(3, 2, 31, 31, dtype=torch.float32)
    found = backward(network, images, layer, rule)
    assert torch.equal(found, elsewhere(network, images, layer, rule))
    assert (found != 0).any(dim=(1, 2, 3)).all()


@pytest.fixture(scope="module")
def torchvisions() -> nn.Module:
    """Its ReLUs work in place, and it flattens by a function; biases keep every layer alive."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return with_random_biases(torchvision.models.alexnet(weights=None))


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "path"), [("pool5", "features.12"), ("fc6", "classifier.1")])
def test_on_torchvisions_alexnet_the_bits_are_captums_and_autograds(
    torchvisions: nn.Module, layer: str, path: str
) -> None:
    images = draw(1, 3, 63, 63, dtype=torch.float32)
    for rule in RULES:
        found = backward(torchvisions, images, layer, rule)
        assert torch.equal(found, elsewhere(torchvisions, images, path, rule))
        assert torch.equal(found, backward(torchvisions, images, path, rule))
        assert found.any()


def test_without_a_layer_the_networks_default_tap_is_mapped_back(torchvisions: nn.Module) -> None:
    images = draw(1, 3, 63, 63, dtype=torch.float32)
    assert torch.equal(backward(torchvisions, images), backward(torchvisions, images, "features.12"))
    own = small_alexnet().float()
    assert torch.equal(backward(own, images), backward(own, images, "pool5"))


@pytest.mark.parametrize("normalisation", ["lrn", "torch_lrn", "none"])
@pytest.mark.parametrize("layer", ["norm1", "norm2", "pool5", "fc7"])
def test_with_local_response_normalisation_the_rules_are_the_plain_loops(
    layer: str, normalisation: Normalisation
) -> None:
    network, images = small_alexnet(normalisation).eval(), draw(2, 3, 67, 67)
    names = [name for name, _ in network.named_children()]
    modules = list(network.children())[: names.index(layer) + 1]
    for rule in ("desalinet", "deconvnet"):
        torch.testing.assert_close(
            backward(network, images, layer, rule), plain(modules, images, rule), rtol=1e-10, atol=1e-12
        )
    torch.testing.assert_close(
        backward(network, images, layer, "saliency"), autograds(network, images, layer), rtol=1e-10, atol=0
    )


def test_with_batch_normalisation_the_rules_are_the_plain_loops() -> None:
    first, second = nn.BatchNorm2d(4), nn.BatchNorm2d(6)
    convolutions = nn.Conv2d(3, 4, 5, stride=2, padding=1), nn.Conv2d(4, 6, 3)
    layers = (convolutions[0], first, nn.ReLU(), nn.MaxPool2d(3, 2), convolutions[1], second, nn.ReLU())
    network = nn.Sequential(*layers).double()
    for seed, norm in enumerate((first, second)):
        norm.running_mean, norm.running_var = draw(len(norm.weight)) / 9, draw(len(norm.weight)).exp()
        nn.init.normal_(norm.weight, 1.0, 0.5, generator=torch.Generator().manual_seed(seed))
        nn.init.constant_(norm.bias, 0.3)
    images = draw(2, 3, 21, 21)
    network.train()  # the stored statistics count all the same
    found = {rule: backward(network, images, "6", rule) for rule in RULES}
    network.eval()
    for rule in ("desalinet", "deconvnet"):
        expected = plain(list(network), images, rule)
        torch.testing.assert_close(found[rule], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found["saliency"], autograds(network, images, "6"), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layer", ["conv1", "relu3", "pool5", "fc6", "fc8"])
def test_without_biases_image_times_saliency_is_the_squared_norm(layer: str) -> None:
    network, images = small_alexnet().eval(), draw(3, 3, 67, 67)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    kept: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    network(images)
    handle.remove()
    energy = kept[0].detach().flatten(1).square().sum(1)
    product = (images * backward(network, images, layer, "saliency")).flatten(1).sum(1)
    assert (energy > 0).all()
    torch.testing.assert_close(product, energy, rtol=1e-10, atol=0)


def test_where_windows_share_a_maximum_the_values_add_up() -> None:
    """max_unpool2d keeps one of the two, and is not what a max pool of 3 pixels every 2 needs."""
    images = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    images[0, 0, 1, 2] = 7.0
    signal = torch.tensor([[[[1.0, 10.0]]]], dtype=torch.float64)
    pool = nn.Sequential(nn.MaxPool2d(3, 2))
    expected = torch.zeros_like(images)
    expected[0, 0, 1, 2] = 11.0
    for rule in RULES:
        assert torch.equal(backward(pool, images, "0", rule, signal), expected)
    _, places = functional.max_pool2d(images, 3, 2, return_indices=True)
    unpooled = functional.max_unpool2d(signal, places, 3, 2, output_size=[3, 5])
    assert unpooled[0, 0, 1, 2] != 11.0


def test_relus_by_hand() -> None:
    """Inputs -1, 2, 3, -4 and signals 5, -6, 7, -8: who passes which."""
    relu = nn.Sequential(nn.ReLU())
    images, signal = torch.tensor([[[[-1.0, 2, 3, -4]]]]), torch.tensor([[[[5.0, -6, 7, -8]]]])
    by_rule = {rule: backward(relu, images, "0", rule, signal).flatten().tolist() for rule in RULES}
    assert by_rule == {"desalinet": [0, 0, 7, 0], "saliency": [0, -6, 7, 0], "deconvnet": [5, 0, 7, 0]}


@pytest.mark.parametrize(
    ("signal", "factors"),
    [
        (None, [4 + 9, 4 + 9, 4 + 9, 4 + 9]),
        (channel(0), [4, 4, 4, 4]),
        (channel(1), [9, 9, 9, 9]),
        (strongest(1), [0, 9, 0, 0]),  # of 2 x and -3 x at x = 1, -2, 2, 3 the largest is 6, at -2 and 3
        (strongest(8), [13, 13, 13, 13]),
        (lambda features: 10 * features, [130, 130, 130, 130]),
    ],
    ids=["all", "channel_0", "channel_1", "strongest_1", "strongest_8", "function"],
)
def test_signals_by_hand(signal: Signal, factors: list[float]) -> None:
    images = torch.tensor([[[[1.0, -2.1], [2.0, 3.0]]]], dtype=torch.float64)
    found = backward(small_convolution(), images, "0", "saliency", signal)
    expected = torch.tensor(factors, dtype=torch.float64).view(1, 1, 2, 2) * images
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_a_tensor_as_signal_by_hand() -> None:
    images = torch.tensor([[[[1.0, 5.0]]]], dtype=torch.float64)
    signal = torch.tensor([[[[1.0, 10.0]], [[100.0, 0.0]]]], dtype=torch.float64)
    for rule in RULES:  # a convolution has one reverse
        found = backward(small_convolution(), images, "0", rule, signal)
        assert torch.equal(found, torch.tensor([[[[2.0 - 300.0, 20.0]]]], dtype=torch.float64))


def test_the_strongest_are_each_images_own() -> None:
    images = torch.tensor([[[[1.0, 2.0]]], [[[-40.0, -30.0]]]], dtype=torch.float64)
    found = backward(small_convolution(), images, "0", signal=strongest(1))
    assert torch.equal(found, torch.tensor([[[[0.0, 8.0]]], [[[-360.0, 0.0]]]], dtype=torch.float64))


@pytest.mark.parametrize(
    "signal",
    [None, channel(3), strongest(2), draw(5, 16, 1, 1)],
    ids=["all", "channel", "strongest", "tensor"],
)
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_batch_size_changes_nothing(signal: Signal, batch_size: int) -> None:
    network, images = small_alexnet("lrn"), draw(5, 3, 63, 63)
    together = backward(network, images, "pool5", signal=signal)
    found = backward(network, images, "pool5", signal=signal, batch_size=batch_size)
    assert found.shape == images.shape and found.dtype == torch.float64 and found.any()
    torch.testing.assert_close(found, together, rtol=1e-10, atol=1e-12)


def test_a_batch_is_no_larger_than_asked() -> None:
    network, sizes = small_convolution(), []
    network[0].register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    backward(network, draw(7, 1, 2, 2), "0", batch_size=3)
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    "signal", [None, channel(3), torch.zeros(0, 16, 1, 1)], ids=["all", "channel", "tensor"]
)
def test_no_images_give_no_maps(signal: Signal) -> None:
    images = torch.zeros(0, 3, 63, 63, dtype=torch.float64)
    found = backward(small_alexnet(), images, "pool5", signal=signal)
    assert found.shape == images.shape and found.dtype == images.dtype


def test_the_memory_format_changes_nothing() -> None:
    network, images = small_alexnet("lrn"), draw(2, 3, 95, 67)
    expected = backward(network, images, "fc6")
    last = images.contiguous(memory_format=torch.channels_last)
    found = backward(network.to(memory_format=torch.channels_last), last, "fc6")
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_constant_images_have_maps() -> None:
    for value in (0.0, 0.5):
        images = torch.full((1, 3, 63, 63), value, dtype=torch.float64)
        found = backward(small_alexnet("lrn"), images, "pool5", "saliency")
        torch.testing.assert_close(
            found, autograds(small_alexnet("lrn"), images, "pool5"), rtol=1e-10, atol=0
        )
        assert found.any()


def doubled(features: Tensor) -> Tensor:
    return 2 * features


def test_a_function_may_make_the_signal() -> None:
    """Saliency is linear in its signal."""
    network, images = small_alexnet("lrn"), draw(2, 3, 63, 63)
    functions: list[tuple[Callable[[Tensor], Tensor], float]] = [(doubled, 2.0), (torch.zeros_like, 0.0)]
    whole = backward(network, images, "relu5", "saliency")
    for function, factor in functions:
        found = backward(network, images, "relu5", "saliency", function)
        torch.testing.assert_close(found, factor * whole, rtol=1e-12, atol=0)
