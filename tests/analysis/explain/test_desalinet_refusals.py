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
from tests.helpers.backward_references import autograds, draw, small_chain

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


class Branches(nn.Module):
    def __init__(self, join: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 3, 3, padding=1, dtype=torch.float64)
        self.two = nn.Conv2d(3, 3, 3, padding=1, dtype=torch.float64)
        self.join = join
        self.end = nn.AdaptiveAvgPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        one = self.one(images)
        joined: Tensor = self.end(self.join(images, one, self.two(images)))
        return joined


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
        nn.Upsample(scale_factor=2),
        nn.MaxPool2d(2, return_indices=True),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_an_operation_without_a_reverse_is_named_with_its_module(operation: nn.Module) -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3, dtype=torch.float64), nn.Sequential(nn.ReLU(), operation))
    for layer in ("1.1", "1"):
        with pytest.raises(RelayError, match=rf"^1\.1.*({type(operation).__name__}|one tensor).*no reverse"):
            backward(chain, draw(1, 3, 8, 8), layer)
    assert backward(chain, draw(1, 3, 8, 8), "1.0").any()  # earlier layers have theirs


def test_a_recurrent_layer_is_named_with_its_module() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.LSTM(36, 5)).double()
    with pytest.raises(RelayError, match=r"^2.*no reverse"):
        backward(chain, draw(1, 3, 8, 8), "2")


@pytest.mark.parametrize("layer", ["attention", "fc"])
def test_attention_is_named_with_its_module(layer: str) -> None:
    with pytest.raises(RelayError, match=r"^attention.*no reverse"):
        backward(Attention(), draw(1, 3, 8, 8), layer)


def in_place(features: Tensor) -> Tensor:
    functional.relu_(features)
    return torch.flatten(features, 1)


@pytest.mark.parametrize(
    "function",
    [
        lambda features: functional.relu(features).flatten(1),
        lambda features: functional.relu(features, inplace=True).flatten(1),
        in_place,
        lambda features: features.flatten(1).relu_(),
        lambda features: features.mul_(2).flatten(1),
        lambda features: features.permute(0, 2, 3, 1).flatten(1),
        lambda features: features.transpose(2, 3).flatten(1),
        lambda features: features.flip(1).flatten(1),
    ],
    ids=["relu", "relu_inplace", "relu_", "flat_relu_", "mul_", "permute", "transpose", "flip"],
)
@pytest.mark.parametrize("rule", RULES)
def test_a_function_between_modules_is_refused(function: Callable[[Tensor], Tensor], rule: Rule) -> None:
    with pytest.raises(RelayError, match="between conv and fc something happens that is not a module"):
        backward(Between(function), draw(2, 3, 8, 8), "fc", rule)


@pytest.mark.parametrize(
    "function",
    [functional.relu, functional.relu_, torch.sigmoid, Tensor.abs, lambda features: features.add_(1)],
    ids=["relu", "relu_", "sigmoid", "abs", "add_"],
)
def test_a_function_that_keeps_the_shape_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 4, 3, dtype=torch.float64), nn.MaxPool2d(2)

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = self.pool(function(self.conv(images)))
            return features

    with pytest.raises(RelayError, match="between conv and pool something happens that is not a module"):
        backward(Chain(), draw(2, 3, 8, 8), "pool", "saliency")


@pytest.mark.parametrize(
    "function", [functional.relu, lambda features: functional.relu(features).flatten(1)], ids=["", "flat"]
)
def test_a_function_is_refused_also_where_it_changes_no_value(function: Callable[[Tensor], Tensor]) -> None:
    """All features are positive; but on the way back the ReLU would hold back what is negative."""
    chain = Between(function)
    with torch.no_grad():
        chain.conv.weight.abs_()
        nn.init.ones_(chain.conv.bias)
    with pytest.raises(RelayError, match="between conv and fc something happens that is not a module"):
        backward(chain, draw(2, 3, 8, 8).abs(), "fc", "desalinet")


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


@pytest.mark.parametrize(
    "join",
    [
        lambda images, one, two: two + images,
        lambda images, one, two: two.add_(images),
        lambda images, one, two: torch.cat([one, two], 1),
        lambda images, one, two: one,
        lambda images, one, two: two,
    ],
    ids=["residual", "residual_in_place", "branches", "first_branch", "second_branch"],
)
def test_residual_sums_and_branches_are_refused(join: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(RelayError, match=r"between one and (two|end) .*a sum, a branch"):
        backward(Branches(join), draw(1, 3, 8, 8), "end")


def test_a_sum_at_the_end_of_the_layer_asked_for_is_refused() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1, dtype=torch.float64)

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = self.conv(images) + images
            return features

    with pytest.raises(RelayError, match=r"between 0\.conv and the end of 0 "):
        backward(nn.Sequential(Residual()), draw(1, 3, 8, 8), "0")


@pytest.mark.parametrize("computed", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_weight_that_is_computed_is_mapped_back(computed: Callable[[nn.Module], nn.Module]) -> None:
    layer = computed(nn.Conv2d(3, 4, 3, dtype=torch.float64)).eval()
    chain, images = nn.Sequential(layer, nn.ReLU()), draw(2, 3, 8, 8)
    found = backward(chain, images, "1", "saliency")
    torch.testing.assert_close(found, autograds(chain, images, "1"), rtol=1e-10, atol=1e-12)


def test_a_convolution_that_computes_something_of_its_own_is_refused() -> None:
    images = draw(2, 3, 8, 8)
    with pytest.raises(RelayError, match="0, Standardised, has no reverse"):
        backward(nn.Sequential(Standardised(3, 4, 3, dtype=torch.float64)), images, "0")
    replaced = nn.Conv2d(3, 4, 3, dtype=torch.float64)
    replaced.forward = lambda given: 2 * nn.Conv2d.forward(replaced, given)  # type: ignore[method-assign]
    with pytest.raises(RelayError, match="0, Conv2d, has no reverse"):
        backward(nn.Sequential(replaced), images, "0")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("hooked", [0, 1, 2])
def test_a_hook_of_the_users_that_changes_what_a_module_gives_is_refused(hooked: int, rule: Rule) -> None:
    chain, images = small_chain(), draw(2, 3, 11, 11)
    expected = backward(chain, images, "2", rule)
    handle = chain[hooked].register_forward_hook(lambda _module, _given, output: output * 2)
    with pytest.raises(RelayError, match=f"between {hooked} and .* a hook"):
        backward(chain, images, "2", rule)
    handle.remove()
    chain[hooked].register_forward_hook(lambda _module, _given, output: output)
    assert torch.equal(backward(chain, images, "2", rule), expected)


@pytest.mark.parametrize("rule", ["desalinet", "saliency"])
def test_what_works_in_place_on_a_relus_output_is_named(rule: Rule) -> None:
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 3, dtype=torch.float64), nn.ReLU(), nn.Dropout(), nn.ReLU(inplace=True)
    )
    with pytest.raises(RelayError, match="3 changes in place what 1 needs for its reverse; give it inplace"):
        backward(chain, draw(1, 3, 8, 8), "3", rule)
    assert backward(chain, draw(1, 3, 8, 8), "3", "deconvnet").any()  # needs no mask


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


def test_a_value_that_is_changed_after_it_was_needed_is_refused() -> None:
    """A block that overwrites what its normalisation was given."""

    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = LocalResponseNorm(3)

        def forward(self, features: Tensor) -> Tensor:
            normalised: Tensor = self.norm(features)
            features.mul_(2)
            return normalised

    chain = nn.Sequential(nn.Conv2d(3, 4, 3, dtype=torch.float64), Overwriting(), nn.Identity())
    with pytest.raises(RelayError, match=r"not a module, before 2, changes in place what 1\.norm needs"):
        backward(chain, draw(1, 3, 8, 8), "2", "saliency")
    assert backward(chain, draw(1, 3, 8, 8), "2", "desalinet").any()  # needs no input of a normalisation


def test_a_layer_that_never_runs_is_named() -> None:
    chain = Between(nn.Flatten())
    chain.spare = nn.ReLU()
    with pytest.raises(RelayError, match="spare did not run in Between's forward pass"):
        backward(chain, draw(2, 3, 8, 8), "spare")


def test_a_network_without_a_specification_has_the_default_layer_of_a_known_one() -> None:
    named = nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 4, 3), relu1=nn.ReLU(), pool5=nn.MaxPool2d(2)))
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(backward(named, images), backward(named, images, layer="pool5"))
