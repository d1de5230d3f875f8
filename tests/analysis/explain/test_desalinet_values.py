"""Images, weights and signals of which there is nothing to map back are refused, and named."""

import pytest
import torch
from torch import Tensor, nn

from analysis.explain.choices import Rule
from analysis.explain.desalinet import Signal, backward, channel, strongest
from stages.errors import RelayError
from tests.helpers.backward_references import draw, small_chain

RULES: tuple[Rule, ...] = ("desalinet", "saliency", "deconvnet")


@pytest.mark.parametrize(
    ("images", "named"),
    [
        (draw(2, 3, 11), r"shape \(2, 3, 11\); give floating point, \(N, C, H, W\)"),
        (torch.ones(2, 3, 11, 11, dtype=torch.uint8), "torch.uint8"),
        (draw(2, 4, 11, 11), r"\(2, 4, 11, 11\).*channels"),
        (draw(2, 3, 12, 13), r"\(2, 3, 12, 13\).*shapes cannot be multiplied"),
        (draw(2, 3, 2, 2), r"\(2, 3, 2, 2\).*Kernel size"),
        (draw(2, 3, 11, 11, dtype=torch.float32), r"\(2, 3, 11, 11\), torch.float32"),
    ],
    ids=["dimensions", "integers", "channels", "size", "small", "dtype"],
)
def test_images_that_do_not_fit_are_refused(images: Tensor, named: str) -> None:
    with pytest.raises(RelayError, match=named):
        backward(small_chain(), images, "5")


SIGNALS: list[Signal] = [None, draw(2, 5), channel(0)]


@pytest.mark.parametrize("signal", SIGNALS, ids=["all", "tensor", "channel"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_images_that_are_not_finite_are_refused(value: float, signal: Signal) -> None:
    images = draw(2, 3, 11, 11)
    images[1, 2, 3, 4] = value
    for rule in RULES:
        with pytest.raises(RelayError, match="images hold NaN or infinite"):
            backward(small_chain(), images, "5", rule, signal)


def test_images_that_are_not_finite_are_refused_in_any_memory_format() -> None:
    class Flattening(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 2)

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = self.fc(torch.flatten(self.conv(images), 1))
            return features

    images = draw(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    images[0, 0, 0, 0] = float("nan")
    chain = Flattening().double().to(memory_format=torch.channels_last)
    with pytest.raises(RelayError, match="images hold NaN or infinite"):
        backward(chain, images, "fc")


def test_an_infinite_pixel_that_a_relu_hides_is_refused() -> None:
    chain, images = small_chain(), draw(2, 3, 11, 11)
    images[0, 0, 5, 5] = -float("inf")
    with torch.no_grad():
        chain.get_parameter("0.weight").abs_()
    with pytest.raises(RelayError, match="images hold NaN or infinite"):
        backward(chain, images, "2")


@pytest.mark.parametrize("signal", SIGNALS, ids=["all", "tensor", "channel"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "4.weight"])
def test_weights_that_are_not_finite_are_named(name: str, value: float, signal: Signal) -> None:
    broken = small_chain()
    with torch.no_grad():
        broken.get_parameter(name)[1] = value
    with pytest.raises(RelayError, match=f"^{name} holds NaN or infinite weights"):
        backward(broken, draw(2, 3, 11, 11).abs(), "4", "saliency", signal)


def test_weights_behind_the_layer_may_be_anything() -> None:
    broken = small_chain()
    with torch.no_grad():
        broken.get_parameter("4.weight").fill_(float("nan"))
    assert backward(broken, draw(2, 3, 11, 11), "2").isfinite().all()


def test_too_large_images_are_not_said_to_be_nan() -> None:
    images = torch.full((1, 3, 11, 11), 1e308, dtype=torch.float64)
    with pytest.raises(RelayError, match=r"what starts at 4 .*too large"):
        backward(small_chain(), images, "4")


@pytest.mark.parametrize("rule", ["desalinet", "saliency", "deconvnet"])
def test_what_overflows_on_the_way_back_is_said(rule: Rule) -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False))
    nn.init.constant_(chain[0].weight, 1e20)
    images = torch.full((1, 3, 5, 5), 1e5)
    with pytest.raises(RelayError, match="on the way back from 0 values became NaN or infinite"):
        backward(chain, images, "0", rule)


@pytest.mark.parametrize(
    ("signal", "named"),
    [
        (draw(2, 4, 3, 3), r"signal has shape \(2, 4, 3, 3\); .* \(2, 4, 4, 4\)"),
        (draw(2, 4, 16), r"signal has shape \(2, 4, 16\)"),
        (draw(1, 4, 4, 4), "signal has shape \\(1, 4, 4, 4\\) for 2 images"),
        (draw(3, 4, 4, 4), "signal has shape \\(3, 4, 4, 4\\) for 2 images"),
        (lambda features: features[:, :1], r"signal has shape \(2, 1, 4, 4\)"),
        (channel(4), "channel 4 is asked for; the layer has channels 0 to 3"),
        (channel(-1), "channel -1 is asked for"),
        (strongest(65), "strongest 65 are asked for; give 1 to 64"),
        (strongest(0), "strongest 0 are asked for"),
        (strongest(1.5), r"strongest 1\.5 are asked for"),  # type: ignore[arg-type]
        (channel("a"), "channel 'a' is asked for"),  # type: ignore[arg-type]
        (channel(True), "channel True is asked for"),
        (torch.tensor(1.0), r"signal has shape \(\) for 2 images"),
        ("all", "signal is 'all'; give a tensor"),
        (lambda features: None, "signal is None; give a tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_signals_that_do_not_fit_are_refused(signal: Signal, named: str) -> None:
    with pytest.raises(RelayError, match=named):
        backward(small_chain(), draw(2, 3, 11, 11), "2", signal=signal)


def test_images_that_are_no_tensor_are_refused() -> None:
    with pytest.raises(RelayError, match=r"images are a ndarray; give a torch\.Tensor"):
        backward(small_chain(), draw(2, 3, 11, 11).numpy(), "2")  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [0, -1, 1.5])
def test_a_batch_has_at_least_one_image(batch_size: int) -> None:
    with pytest.raises(RelayError, match=f"batch_size is {batch_size}"):
        backward(small_chain(), draw(2, 3, 11, 11), "2", batch_size=batch_size)
