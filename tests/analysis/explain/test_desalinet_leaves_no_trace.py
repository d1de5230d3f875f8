"""What a backward path must not change, and networks that reuse a module or work in place."""

import copy
import weakref
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from analysis.explain.choices import Rule
from analysis.explain.desalinet import backward, strongest
from stages.errors import RelayError
from tests.helpers.backward_references import autograds, draw, elsewhere, plain, small_alexnet

RULES: tuple[Rule, ...] = ("desalinet", "saliency", "deconvnet")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class ReusedReLU(nn.Module):
    """One ReLU, called three times; the flattening is a function."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 5, 3, stride=2)
        self.relu = nn.ReLU(inplace)
        self.last = nn.Linear(5 * 9, 6)

    def chain(self) -> list[nn.Module]:
        return [self.first, self.relu, self.second, self.relu, nn.Flatten(), self.last, self.relu]

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.second(self.relu(self.first(images))))
        return cast(Tensor, self.relu(self.last(torch.flatten(features, 1))))


def small(*, inplace: bool) -> nn.Sequential:
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.MaxPool2d(3, 2), nn.Conv2d(4, 5, 3), nn.ReLU(inplace))
    network = nn.Sequential(*layers).double()
    for seed, parameter in enumerate(network.parameters()):
        nn.init.normal_(parameter, 0.0, 0.4, generator=torch.Generator().manual_seed(seed))
    return network


def hooks(network: nn.Module) -> list[dict[int, Callable[..., object]]]:
    return [dict(getattr(module, kind)) for module in network.modules() for kind in _HOOKS]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_a_module_that_is_called_several_times_is_undone_each_time(rule: Rule, inplace: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network, images = ReusedReLU(inplace=inplace).double(), draw(2, 3, 9, 9)
        end = nn.Sequential(network, nn.Linear(6, 2).double())
    found = backward(end, images, "1", rule)
    if rule == "saliency":
        expected = autograds(end, images, "1")
    else:
        chain = [*ReusedReLU.chain(copy.deepcopy(network)), end[1]]
        expected = plain(chain, images, rule)
    assert found.any()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_of_a_layer_that_runs_several_times_the_first_call_counts() -> None:
    network, images = ReusedReLU(inplace=False).double(), draw(2, 3, 9, 9)
    expected = plain([network.first, network.relu], images, "desalinet")
    torch.testing.assert_close(backward(network, images, "relu"), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layer", ["0", "1", "3", "4"])
def test_layers_that_work_in_place_change_nothing(layer: str, rule: Rule) -> None:
    found = backward(small(inplace=True), draw(2, 3, 12, 12), layer, rule)
    assert torch.equal(found, backward(small(inplace=False), draw(2, 3, 12, 12), layer, rule))
    assert torch.equal(found, elsewhere(small(inplace=True), draw(2, 3, 12, 12), layer, rule))


@pytest.mark.parametrize("rule", RULES)
def test_images_stay_as_they_are_where_the_first_layer_works_in_place(rule: Rule) -> None:
    images = draw(3, 3, 12, 12)
    given = images.clone()
    network = nn.Sequential(nn.ReLU(inplace=True), *small(inplace=True))
    found = backward(network, images, "5", rule, batch_size=2)
    assert torch.equal(found, elsewhere(network, given.clone(), "5", rule))
    assert torch.equal(images, given)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layer", ["2", "4"])
def test_images_and_the_signal_stay_as_they_are(layer: str, rule: Rule, inplace: bool) -> None:
    images, signal = draw(3, 3, 12, 12), draw(3, *((4, 4, 4) if layer == "2" else (5, 2, 2)))
    before = images.clone(), signal.clone()
    network = small(inplace=inplace)
    backward(network, images, layer, rule, signal)
    backward(network, images, layer, rule, lambda _features: signal)
    assert torch.equal(images, before[0]) and torch.equal(signal, before[1])


def test_the_map_is_no_view_of_the_images_or_the_signal() -> None:
    images, signal = draw(1, 2, 3, 3), draw(1, 2, 3, 3, seed=1)
    for start in (None, signal):
        found = backward(nn.Sequential(nn.Identity()), images, "0", signal=start)
        assert torch.equal(found, images if start is None else signal)
        found.zero_()
    assert images.all() and signal.all()


def test_maps_have_no_graph() -> None:
    images = draw(2, 3, 12, 12).requires_grad_()
    for rule in RULES:
        assert not backward(small(inplace=False), images, "4", rule).requires_grad
    assert images.grad is None and images.requires_grad


def fails_at_a_sigmoid(network: nn.Sequential) -> None:
    with pytest.raises(RelayError, match="Sigmoid"):
        backward(network, draw(2, 3, 12, 12), "6")


def fails_within_a_signal(network: nn.Sequential) -> None:
    with pytest.raises(RelayError, match="strongest"):
        backward(network, draw(2, 3, 12, 12), "4", "saliency", strongest(999))


def fails_within_the_network(network: nn.Sequential) -> None:
    with pytest.raises(RelayError, match="does not take"):
        backward(network, draw(2, 5, 12, 12), "4")


def is_interrupted(network: nn.Sequential) -> None:
    def interrupt(_features: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backward(network, draw(2, 3, 12, 12), "4", signal=interrupt)


def succeeds(network: nn.Sequential) -> None:
    for rule in RULES:
        assert backward(network, draw(2, 3, 12, 12), "4", rule).any()


@pytest.mark.parametrize(
    "do", [succeeds, fails_at_a_sigmoid, fails_within_a_signal, fails_within_the_network, is_interrupted]
)
def test_the_network_stays_as_it_is_after_an_error_too(do: Callable[[nn.Sequential], None]) -> None:
    """Hooks, modes, weights, running statistics, gradients and what requires them; random numbers."""
    network = small(inplace=False)
    network[1] = nn.Sequential(nn.BatchNorm2d(4, dtype=torch.float64), nn.ReLU())
    network.append(nn.Dropout(0.5)).append(nn.Sigmoid())
    ours = network[3].register_forward_hook(lambda _module, _inputs, _output: None)
    modes = [bool(number % 3) for number, _ in enumerate(network.modules())]
    for number, (module, mode) in enumerate(zip(network.modules(), modes, strict=True)):
        module.training = mode
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(number % 2 == 0)
            parameter.grad = torch.full_like(parameter, 0.25)
    requiring = [parameter.requires_grad for parameter in network.parameters()]
    weights, attached = copy.deepcopy(network.state_dict()), hooks(network)
    random_state = torch.get_rng_state()
    do(network)
    assert [module.training for module in network.modules()] == modes
    assert set(modes) == set(requiring) == {False, True}
    assert hooks(network) == attached and ours.id in network[3]._forward_hooks
    assert [parameter.requires_grad for parameter in network.parameters()] == requiring
    assert all((parameter.grad == 0.25).all() for parameter in network.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.is_grad_enabled()


def test_a_network_in_training_is_mapped_as_in_evaluation() -> None:
    network, images = small_alexnet("lrn"), draw(2, 3, 63, 63)
    expected = backward(network.eval(), images, "fc7")
    assert torch.equal(backward(network.train(), images, "fc7"), expected)
    assert network.training


def test_layers_behind_the_one_asked_for_do_not_run() -> None:
    network = small(inplace=False)
    network[3].register_forward_hook(lambda _module, _inputs, _output: pytest.fail("it ran"))
    assert backward(network, draw(2, 3, 12, 12), "2").any()


def test_in_inference_mode_maps_are_the_same() -> None:
    network, images = small(inplace=False), draw(2, 3, 12, 12)
    expected = backward(network, images, "4", "saliency")
    with torch.inference_mode():
        found = backward(network, images, "4", "saliency")
    assert torch.equal(found, expected)


def test_no_activation_outlives_the_layers_that_need_it() -> None:
    """A convolution's output is needed by no reverse: the ReLU keeps its own."""
    network, images = small_alexnet(), draw(1, 3, 67, 67)
    outputs: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []

    def remember(_module: nn.Module, _given: object, output: Tensor) -> None:
        outputs.append(weakref.ref(output))

    def look(features: Tensor) -> Tensor:  # between the way there and the way back
        alive.extend(output() is not None for output in outputs)
        return features

    for name in ("conv1", "conv2", "conv3"):
        network.get_submodule(name).register_forward_hook(remember)
    backward(network, images, "pool5", "desalinet", look)
    assert alive == [False, False, False]
