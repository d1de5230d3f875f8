"""Backward paths through sums, branches, concatenations, gains and functions: captum and autograd."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from analysis.explain import backward
from analysis.explain.choices import Rule
from analysis.explain.cka import layer_grams, linear_cka
from analysis.explain.frequency import frequency_response
from analysis.explain.layers import layer_names
from stages.errors import RelayError
from tests.helpers.backward_references import autograds, draw, elsewhere

RULES: tuple[Rule, ...] = ("desalinet", "saliency", "deconvnet")


def trained_like(network: nn.Module, *, zero_residual: bool = False) -> nn.Module:
    """Normalisations with scales, shifts and statistics of their own, in float64."""
    generator = torch.Generator().manual_seed(1)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.weight, 1.0, 0.3, generator=generator)
            nn.init.normal_(module.bias, 0.1, 0.2, generator=generator)
            nn.init.normal_(module.running_mean, 0.0, 0.2, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 2.0, generator=generator)
            if zero_residual and name.endswith("bn2"):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
    return network.double()


def made(build: Callable[..., nn.Module], **settings: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(**settings)


@pytest.fixture(scope="module", params=["trained", "zero"])
def resnet18(request: pytest.FixtureRequest) -> nn.Module:
    network = made(torchvision.models.resnet18)
    return trained_like(network, zero_residual=request.param == "zero")


@pytest.mark.parametrize("layer", ["relu", "layer1.0.bn2", "layer2.0", "layer2.0.downsample", "layer4", "fc"])
def test_on_resnet18_the_rules_are_captums_and_the_gradient(resnet18: nn.Module, layer: str) -> None:
    images = draw(2, 3, 40, 48)
    for rule in RULES:
        found = backward(resnet18, images, layer, rule)
        expected = elsewhere(resnet18, images, layer, rule)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))
        if layer != "layer1.0.bn2":  # zero where it was initialised to zero
            assert (found != 0).any(dim=(1, 2, 3)).all()


def test_of_resnets_relu_that_runs_twice_the_first_call_counts(resnet18: nn.Module) -> None:
    images = draw(1, 3, 32, 32)
    found = backward(resnet18, images, "layer2.0.relu", "desalinet")
    behind = backward(
        resnet18,
        images,
        "layer2.0.bn1",
        "desalinet",
        lambda features: features.clamp_min(0),  # what the ReLU gives, and passes back of itself
    )
    assert torch.equal(found, behind)


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (torchvision.models.densenet121, "features.denseblock2"),
        (torchvision.models.squeezenet1_1, "classifier"),
    ],
    ids=["densenet121", "squeezenet"],
)
def test_with_concatenations_the_rules_are_captums_and_the_gradient(
    build: Callable[..., nn.Module], layer: str
) -> None:
    network, images = trained_like(made(build)), draw(1, 3, 36, 36)
    for rule in RULES:
        found, expected = backward(network, images, layer, rule), elsewhere(network, images, layer, rule)
        assert found.any()
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))


class Forked(nn.Module):
    """A fork, a sum, a concatenation, a gain and a mean: linear, so that each rule is its adjoint."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.two = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.gain = nn.Parameter(torch.tensor([0.5, -2.0, 3.0, 0.1])[:, None, None])
        self.end = nn.Identity()
        for seed, parameter in enumerate(self.parameters()):
            if parameter.dim() == 4:
                nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))

    def forward(self, images: Tensor) -> Tensor:
        one, two = self.one(images), self.two(images)
        with torch.no_grad():  # a frozen part: no value is another
            summed = (one + two * self.gain).sub_(one, alpha=3)
        joined = torch.cat([summed, functional.avg_pool2d(two, 3, 1, 1), one.detach()[:, 1:2].roll(1, 3)], 1)
        pixels = joined.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2) / 7
        first, rest = pixels.split([2, pixels.shape[2] - 2], dim=2)
        values: Tensor = self.end(torch.cat([first[:, :, 0], rest.mean(2), -rest.sum(2)], 1))
        return values


@pytest.mark.parametrize("rule", RULES)
def test_of_a_linear_network_every_rule_is_the_adjoint(rule: Rule) -> None:
    network, images, others = Forked().double(), draw(2, 3, 6, 7), draw(2, 3, 6, 7, seed=1)
    with torch.no_grad():
        signal = draw(*network(images).shape, seed=2)
        there = (network(others) * signal).sum()
    back = backward(network, images, "end", rule, signal)
    torch.testing.assert_close((others * back).sum(), there, rtol=1e-10, atol=1e-10)


class Residual(nn.Module):
    """ReLU as a module and as a function: of the same values."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
        self.relu = relu
        self.end = nn.AdaptiveAvgPool2d(3)
        for seed, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, 0.0, 0.5, generator=torch.Generator().manual_seed(seed))

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.one(images))
        values: Tensor = self.end(self.relu(self.two(features) + features))
        return values


@pytest.mark.parametrize(
    "relu",
    [
        functional.relu,
        lambda features: functional.relu(features, inplace=True),
        functional.relu_,
        torch.relu,
        torch.relu_,
        Tensor.relu,
        Tensor.relu_,
        lambda features: features.clamp(min=0),
        lambda features: features.clamp_(0, None),
        torch.nn.ReLU(inplace=True),
    ],
    ids=["F.relu", "inplace", "F.relu_", "relu", "relu_", "Tensor", "Tensor_", "clamp", "clamp_", "module"],
)
@pytest.mark.parametrize("rule", RULES)
def test_a_relu_is_a_relu_however_it_is_called(relu: Callable[[Tensor], Tensor], rule: Rule) -> None:
    images = draw(2, 3, 8, 8)
    expected = elsewhere(Residual(nn.ReLU()).double(), images, "end", rule)
    found = backward(Residual(relu).double(), images, "end", rule)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_relu6_by_hand() -> None:
    """Inputs -1, 2, 9, 3 and signals 5, 6, 7, -8."""
    images, signal = torch.tensor([[[[-1.0, 2, 9, 3]]]]), torch.tensor([[[[5.0, 6, 7, -8]]]])
    relu = nn.Sequential(nn.ReLU6())
    by_rule = {rule: backward(relu, images, "0", rule, signal).flatten().tolist() for rule in RULES}
    assert by_rule == {"desalinet": [0, 6, 0, 0], "saliency": [0, 6, 0, -8], "deconvnet": [5, 6, 7, 0]}


def test_a_layer_normalisation_is_its_gradient_and_a_gelu_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(2), nn.LayerNorm(36), nn.Linear(36, 5), nn.ReLU(), nn.GELU()).double()
    images = draw(2, 3, 6, 6)
    for rule in RULES:
        torch.testing.assert_close(
            backward(network, images, "3", rule),
            elsewhere(network, images, "3", rule),
            rtol=1e-10,
            atol=1e-12,
        )
    torch.testing.assert_close(
        backward(network, images, "4", "saliency"), autograds(network, images, "4"), rtol=1e-10, atol=1e-12
    )
    for rule in ("desalinet", "deconvnet"):
        with pytest.raises(RelayError, match=f"^4, GELU: gelu has no reverse under {rule}"):
            backward(network, images, "4", rule)


def vision_transformer() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)


@pytest.mark.parametrize(
    ("build", "layer", "named"),
    [
        (vision_transformer, "encoder.layers.encoder_layer_1", r"^encoder.*encoder_layer_0"),
        (torchvision.models.efficientnet_b0, "features.3", "SiLU: silu"),
        (torchvision.models.regnet_y_400mf, "trunk_output.block1", "Sigmoid: sigmoid"),
    ],
    ids=["vit", "efficientnet", "regnet_y"],
)
def test_attention_and_gates_are_autograds_under_saliency_and_refused_by_name(
    build: Callable[..., nn.Module], layer: str, named: str
) -> None:
    network, images = made(build).double(), draw(1, 3, 32, 32)
    found = backward(network, images, layer, "saliency")
    torch.testing.assert_close(found, autograds(network, images, layer), rtol=1e-9, atol=1e-12)
    for rule in ("desalinet", "deconvnet"):
        with pytest.raises(RelayError, match=named):
            backward(network, images, layer, rule)


@pytest.mark.parametrize("rule", ["desalinet", "saliency"])
def test_frequencies_and_similarities_of_any_layer(rule: Rule) -> None:
    network = trained_like(made(torchvision.models.resnet18)).float()
    for layer in ("layer2.0.relu", "layer3", "avgpool"):
        omega, gain = frequency_response(network, 32, layer, rule, count=1)
        assert len(omega) == 17 and (gain > 0).all()
    images = draw(6, 3, 32, 32, dtype=torch.float32)
    grams = layer_grams(network, images, ["layer2.0.relu", "layer4", "avgpool"])
    assert linear_cka(grams["layer4"], grams["layer4"]) == pytest.approx(1.0)
    assert linear_cka(grams["layer2.0.relu"], grams["avgpool"]) < 1.0


def test_of_many_layers_the_near_names_are_offered() -> None:
    network = torchvision.models.resnet18()
    with pytest.raises(
        RelayError, match=r"ResNet has no layer 'layer5'; did you mean .*layer[1-4]\b"
    ) as error:
        backward(network, draw(1, 3, 32, 32, dtype=torch.float32), "layer5")
    assert len(str(error.value)) < 200 < len(", ".join(layer_names(network)))
