"""Networks that have no backward path are refused, and the message names what matters."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from analysis.explain.choices import Rule
from analysis.explain.desalinet import backward
from lightning_modules.lrn import LocalResponseNorm
from stages.errors import RelayError
from tests.helpers.backward_references import autograds, draw, elsewhere, small_chain

RULES: tuple[Rule, ...] = ("desalinet", "saliency", "deconvnet")


class Between(nn.Module):
    """A convolution and a linear layer, and a function between them."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, dtype=torch.float64)
        self.function = function
        self.fc = nn.Linear(4 * 36, 5, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.fc(self.function(self.conv(images)))
        return features


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, dtype=torch.float64)
        self.flatten = nn.Flatten(2)
        self.attention = nn.MultiheadAttention(36, 2, batch_first=True, dtype=torch.float64)
        self.fc = nn.Linear(36, 2, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.flatten(self.conv(images))
        features: Tensor = self.fc(self.attention(tokens, tokens, tokens)[0])
        return features


class Standardised(nn.Conv2d):
    """A convolution with a forward pass of its own, as weight standardisation has."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight / self.weight.std(), self.bias)


def test_an_unknown_layer_lists_those_that_there_are() -> None:
    with pytest.raises(
        RelayError, match=r"Sequential has no layer 'pool5'; its layers are 0, 1, 2, 3, 4, 5$"
    ):
        backward(small_chain(), draw(1, 3, 11, 11), "pool5")


def test_an_unknown_rule_lists_those_that_there_are() -> None:
    with pytest.raises(
        RelayError, match="rule is 'guided'; it must be one of desalinet, saliency, deconvnet"
    ):
        backward(small_chain(), draw(1, 3, 11, 11), "2", "guided")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "operation",
    [
        nn.Sigmoid(),
        nn.GELU(),
        nn.LeakyReLU(),
        nn.Softmax(1),
        nn.SiLU(),
        nn.Hardswish(inplace=True),
        nn.LPPool2d(2, 2),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_an_operation_without_a_reverse_is_named_with_its_module(operation: nn.Module) -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3, dtype=torch.float64), nn.Sequential(nn.ReLU(), operation))
    for layer in ("1.1", "1"):
        for rule in ("desalinet", "deconvnet"):
            with pytest.raises(
                RelayError, match=rf"^1\.1, {type(operation).__name__}: .* no reverse .*saliency"
            ):
                backward(chain, draw(1, 3, 8, 8), layer, rule)
        found = backward(chain, draw(1, 3, 8, 8), layer, "saliency")
        torch.testing.assert_close(found, autograds(chain, draw(1, 3, 8, 8), layer), rtol=1e-12, atol=1e-14)
    assert backward(chain, draw(1, 3, 8, 8), "1.0").any()  # earlier layers have theirs


def test_a_layer_that_gives_several_tensors_is_named() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, return_indices=True)).double()
    with pytest.raises(RelayError, match=r"^1 gives something other than one tensor.*no reverse"):
        backward(chain, draw(1, 3, 8, 8), "1")


def test_a_recurrent_layer_is_named_with_its_module() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.LSTM(36, 5)).double()
    with pytest.raises(RelayError, match=r"^2.*no reverse"):
        backward(chain, draw(1, 3, 8, 8), "2")


@pytest.mark.parametrize("layer", ["attention", "fc"])
def test_attention_is_named_with_its_module(layer: str) -> None:
    with pytest.raises(RelayError, match=r"^attention.*no reverse"):
        backward(Attention(), draw(1, 3, 8, 8), layer)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (torch.sigmoid, "sigmoid"),
        (Tensor.abs, "abs"),
        (lambda features: features * features, "mul of values that all depend on the images"),
        (lambda features: 1 / (features + 9), "reciprocal"),
        (lambda features: torch.ones_like(features) / (features + 9), "division by what depends"),
        (lambda features: features.flatten(1).relu_(), "a change in place of a view"),
        (functional.leaky_relu, "leaky relu"),
        (lambda features: features.clamp(-1, 1), "clamp"),
        (
            lambda features: functional.layer_norm(features, [6, 6], features[0, 0]),
            "native layer norm of values",
        ),
    ],
    ids=["sigmoid", "abs", "square", "reciprocal", "division", "flat_relu_", "leaky", "clamp", "adaptive"],
)
@pytest.mark.parametrize("rule", ["desalinet", "deconvnet"])
def test_a_function_without_a_reverse_is_named_and_is_a_gradient_under_saliency(
    function: Callable[[Tensor], Tensor], named: str, rule: Rule
) -> None:
    chain, images = Between(lambda features: function(features).flatten(1)), draw(2, 3, 8, 8)
    with pytest.raises(RelayError, match=f"^Between: {named}.* no reverse under {rule}, .*rule=saliency"):
        backward(chain, images, "fc", rule)
    expected = autograds(chain, images, "fc")
    torch.testing.assert_close(backward(chain, images, "fc", "saliency"), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        lambda features: features.flatten(1),
        lambda features: features.view(2, -1),
        lambda features: functional.dropout(features, training=False).flatten(1),
        lambda features: features.detach()[:, :, None].reshape(2, -1),
    ],
    ids=["flatten", "view", "dropout", "reshape"],
)
def test_a_function_that_only_reshapes_is_taken(function: Callable[[Tensor], Tensor]) -> None:
    chain, images = Between(function), draw(2, 3, 8, 8)
    reference = Between(nn.Flatten())
    reference.load_state_dict(chain.state_dict())
    expected = autograds(reference, images, "fc")
    torch.testing.assert_close(backward(chain, images, "fc", "saliency"), expected, rtol=1e-12, atol=1e-14)


def test_a_function_that_flattens_to_a_copy_is_taken() -> None:
    """In channels-last, where the order in memory is another."""
    chain, images = Between(lambda features: torch.flatten(features, 1)), draw(2, 3, 8, 8)
    expected = autograds(chain, images, "fc")
    chain, images = (thing.to(memory_format=torch.channels_last) for thing in (chain, images))
    found = backward(chain, images, "fc", "saliency")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("computed", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_weight_that_is_computed_is_mapped_back(computed: Callable[[nn.Module], nn.Module]) -> None:
    layer = computed(nn.Conv2d(3, 4, 3, dtype=torch.float64)).eval()
    chain, images = nn.Sequential(layer, nn.ReLU()), draw(2, 3, 8, 8)
    found = backward(chain, images, "1", "saliency")
    torch.testing.assert_close(found, autograds(chain, images, "1"), rtol=1e-10, atol=1e-12)


def test_a_convolution_that_computes_something_of_its_own_is_mapped_back() -> None:
    images = draw(2, 3, 8, 8)
    standardised = nn.Sequential(Standardised(3, 4, 3, dtype=torch.float64))
    replaced = nn.Conv2d(3, 4, 3, dtype=torch.float64)
    replaced.forward = lambda given: 2 * nn.Conv2d.forward(replaced, given)  # type: ignore[method-assign]
    for network in (standardised, nn.Sequential(replaced)):
        assert torch.equal(backward(network, images, "0"), autograds(network, images, "0"))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("hooked", [0, 1, 2])
def test_a_hook_of_the_users_that_changes_what_a_module_gives_is_mapped_back(hooked: int, rule: Rule) -> None:
    chain, images = small_chain(), draw(2, 3, 11, 11)
    nn.init.zeros_(
        chain.get_parameter("0.bias")
    )  # so that twice the features of a layer are twice those behind
    expected = backward(chain, images, "2", rule)
    chain[hooked].register_forward_hook(lambda _module, _given, output: output * 2)
    torch.testing.assert_close(backward(chain, images, "2", rule), 4 * expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_what_works_in_place_on_a_relus_output_changes_nothing(rule: Rule) -> None:
    def chain(*, inplace: bool) -> nn.Sequential:
        convolution = nn.Conv2d(3, 4, 3, bias=False, dtype=torch.float64)
        with torch.no_grad():
            convolution.weight.copy_(draw(4, 3, 3, 3, seed=4))
        return nn.Sequential(convolution, nn.ReLU(), nn.Dropout(), nn.ReLU(inplace))

    images = draw(1, 3, 8, 8)
    found = backward(chain(inplace=True), images, "3", rule)
    assert found.any() and torch.equal(found, elsewhere(chain(inplace=False), images, "3", rule))


def test_a_signal_may_write_into_the_features_that_it_is_given() -> None:
    chain, images = small_chain(), draw(2, 3, 11, 11)
    ones = torch.ones(2, 4, 9, 9, dtype=torch.float64)
    found = backward(chain, images, "1", signal=lambda features: features.fill_(1))
    assert torch.equal(found, backward(chain, images, "1", signal=ones))


def test_a_module_of_two_names_is_asked_for_by_its_first() -> None:
    shared = nn.ReLU()
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), shared, nn.Conv2d(4, 4, 3), shared)
    with pytest.raises(RelayError, match="3 is the same module as 1, and its first call counts"):
        backward(chain, draw(1, 3, 8, 8, dtype=torch.float32), "3")


def test_without_images_the_layer_and_the_rule_are_looked_at() -> None:
    none = draw(0, 3, 11, 11)
    assert backward(small_chain(), none, "2").shape == (0, 3, 11, 11)
    with pytest.raises(RelayError, match="no layer 'pool5'"):
        backward(small_chain(), none, "pool5")
    with pytest.raises(RelayError, match=r"no default layer; give one of its layers, 0, 1, 2, 3, 4, 5$"):
        backward(small_chain(), none)
    with pytest.raises(RelayError, match="rule is 'guided'"):
        backward(small_chain(), none, "2", "guided")  # type: ignore[arg-type]


def test_a_value_that_is_changed_after_it_was_needed_is_needed_as_it_was() -> None:
    """A block that overwrites what its normalisation was given."""

    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = LocalResponseNorm(3)

        def forward(self, features: Tensor) -> Tensor:
            normalised: Tensor = self.norm(features)
            features.mul_(2)
            return normalised

    convolution = nn.Conv2d(3, 4, 3, dtype=torch.float64)
    chain = nn.Sequential(convolution, Overwriting(), nn.Identity())
    plain = nn.Sequential(convolution, LocalResponseNorm(3), nn.Identity())
    images = draw(1, 3, 8, 8)
    found = backward(chain, images, "2", "saliency")
    torch.testing.assert_close(found, autograds(plain, images, "2"), rtol=1e-12, atol=1e-14)
    assert torch.equal(backward(chain, images, "2"), backward(plain, images, "2"))


def test_a_layer_that_does_not_depend_on_the_images_is_named() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.ones_like(images)

    class Rounding(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.argmax(1, keepdim=True).to(images)

    for layer in (Constant(), Rounding()):
        for rule in RULES:
            with pytest.raises(RelayError, match="what 1 gives does not depend on the images by steps"):
                backward(nn.Sequential(nn.Conv2d(3, 4, 1).double(), layer), draw(1, 3, 8, 8), "1", rule)


def test_a_layer_that_never_runs_is_named() -> None:
    chain = Between(nn.Flatten())
    chain.spare = nn.ReLU()
    with pytest.raises(RelayError, match="spare did not run in Between's forward pass"):
        backward(chain, draw(2, 3, 8, 8), "spare")


def test_a_network_without_a_specification_has_the_default_layer_of_a_known_one() -> None:
    named = nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 4, 3), relu1=nn.ReLU(), pool5=nn.MaxPool2d(2)))
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(backward(named, images), backward(named, images, layer="pool5"))
