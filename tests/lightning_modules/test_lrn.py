"""Local response normalisation against torch's own layer, and against the formula written plainly."""

import copy
import pickle
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules import lrn
from lightning_modules.lrn import LocalResponseNorm

ALEXNET = (5, 5e-4, 0.75, 2.0)
SHAPES = [(2, 7, 5), (3, 12, 4, 5), (2, 6, 2, 3, 4), (2, 1, 3, 3), (4, 9, 1, 1)]
CONSTANTS = [(1e-4, 0.75, 1.0), (0.7, 0.75, 2.0), (2.0, 1.3, 0.5), (1.0, 1.0, 1.0), (0.3, 0.0, 2.0)]


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def channels_last(x):
    """The same values with the channels innermost in memory, for any number of dimensions."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def value_and_gradient(layer, x, gradient):
    x = x.detach().clone().requires_grad_()
    y = layer(x)
    y.backward(gradient.to(y.dtype))
    return y.detach(), x.grad


def plain(x, size, alpha, beta, k):
    """The formula, channel by channel."""
    y = torch.empty_like(x)
    channels = x.shape[1]
    for c in range(channels):
        window = x[:, max(0, c - size // 2) : min(channels, c + (size - 1) // 2 + 1)]
        y[:, c] = x[:, c] / (k + alpha / size * (window**2).sum(1)) ** beta
    return y


@pytest.mark.parametrize("memory", [torch.clone, channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 9, 25])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float64_values_and_gradients_are_torchs(shape, size, memory):
    for constants in CONSTANTS:
        x, gradient = memory(draw(*shape)), draw(*shape, seed=1)
        own = value_and_gradient(LocalResponseNorm(size, *constants), x, gradient)
        reference = value_and_gradient(torch.nn.LocalResponseNorm(size, *constants), x.contiguous(), gradient)
        for ours, torchs in zip(own, reference, strict=True):
            torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory", [torch.clone, channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("elements", [1, 60, 100, 333])
def test_where_a_block_ends_changes_nothing(elements, memory, monkeypatch):
    monkeypatch.setattr(lrn, "_THREAD_ELEMENTS", elements)
    x, gradient = memory(draw(5, 11, 3, 2)), draw(5, 11, 3, 2, seed=1)
    own = value_and_gradient(LocalResponseNorm(4, 0.9, 0.75, 1.5), x, gradient)
    reference = value_and_gradient(torch.nn.LocalResponseNorm(4, 0.9, 0.75, 1.5), x.contiguous(), gradient)
    for ours, torchs in zip(own, reference, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, n) for n in (3, 20, 4, 4)]),
    size=st.integers(1, 24),
    beta=st.sampled_from([0.5, 0.75, 1.1]),
    last=st.booleans(),
)
def test_values_are_the_formulas(shape, size, beta, last):
    x = draw(*shape, seed=sum(shape))
    y = LocalResponseNorm(size, 0.8, beta, 1.2)(channels_last(x) if last else x)
    torch.testing.assert_close(y, plain(x, size, 0.8, beta, 1.2), rtol=1e-12, atol=1e-12)


def test_defaults_and_arguments_are_torchs():
    own, reference = LocalResponseNorm(7), torch.nn.LocalResponseNorm(7)
    assert repr(own) == repr(reference)
    assert repr(LocalResponseNorm(3, 0.5, 0.6, 2)) == repr(torch.nn.LocalResponseNorm(3, 0.5, 0.6, 2))


def test_alexnets_constants_by_hand():
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64).reshape(1, 4, 1)
    y = LocalResponseNorm(*ALEXNET)(x).flatten()
    sums = [1 + 4 + 9, 1 + 4 + 9 + 16, 1 + 4 + 9 + 16, 4 + 9 + 16]  # the paper's n = 5, cut at both ends
    for value, number, total in zip(y.tolist(), [1, 2, 3, 4], sums, strict=True):
        assert value == pytest.approx(number / (2 + 1e-4 * total) ** 0.75, rel=1e-14)


@pytest.mark.parametrize("beta", [0.75, 1.3])
@pytest.mark.parametrize("size", [4, 5, 20])
def test_first_and_second_derivatives(size, beta):
    x = draw(2, 6, 2, 2).requires_grad_()
    layer = LocalResponseNorm(size, 0.9, beta, 1.2)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)


def test_the_graph_of_a_gradient_gives_the_same_gradient():
    x = draw(2, 6, 3, 3).requires_grad_()
    y = LocalResponseNorm(5, 0.9, 0.75, 1.2)(x).sum()
    (recorded,) = torch.autograd.grad(y, x, create_graph=True)
    (blocked,) = torch.autograd.grad(y, x)
    torch.testing.assert_close(recorded, blocked, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_memory_format_and_dtype_of_the_input_are_kept(dtype):
    layer = LocalResponseNorm(*ALEXNET)
    for drawn in (draw(2, 8, 3, 4), channels_last(draw(2, 8, 3, 4)), channels_last(draw(2, 8, 3, 4, 2))):
        x = drawn.to(dtype).requires_grad_()
        y = layer(x)
        y.backward(torch.ones(()).to(dtype).expand(y.shape))
        assert y.dtype == x.grad.dtype == dtype
        assert y.stride() == x.grad.stride() == x.stride()


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x[:, ::2],
        lambda x: x[:, 1:, :, ::2],
        lambda x: x.transpose(0, 1),
        lambda x: x.transpose(1, 3),
        lambda x: x[:1].expand(4, -1, -1, -1),
        lambda x: channels_last(x)[:, 2:],
        lambda x: x.permute(3, 2, 1, 0),
    ],
)
def test_inputs_and_gradients_with_gaps(cut):
    x, gradient = cut(draw(4, 10, 6, 6)), cut(draw(4, 10, 6, 6, seed=1))
    own = value_and_gradient(LocalResponseNorm(*ALEXNET), x, gradient)
    reference = value_and_gradient(torch.nn.LocalResponseNorm(*ALEXNET), x.contiguous(), gradient)
    for ours, torchs in zip(own, reference, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(LocalResponseNorm(*ALEXNET)(x), reference[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 10, 100])
@pytest.mark.parametrize("memory", [torch.clone, channels_last], ids=["nchw", "nhwc"])
def test_float32(memory, scale):
    x, gradient = memory(draw(2, 32, 5, 5) * scale), draw(2, 32, 5, 5, seed=1)
    exact = value_and_gradient(torch.nn.LocalResponseNorm(*ALEXNET), x.contiguous(), gradient)
    own = value_and_gradient(LocalResponseNorm(*ALEXNET), x.float(), gradient.float())
    for ours, torchs in zip(own, exact, strict=True):
        torch.testing.assert_close(ours.double(), torchs, rtol=2e-6, atol=1e-6 * float(torchs.abs().max()))


@pytest.mark.parametrize("scale", [1, 10, 100])
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_rounded_once_and_no_worse_than_torchs(autocast, scale):
    x = channels_last((draw(2, 32, 7, 7) * scale).bfloat16())
    gradient = draw(2, 32, 7, 7, seed=1).bfloat16()
    exact_value, exact_gradient = value_and_gradient(
        torch.nn.LocalResponseNorm(*ALEXNET), x.double().contiguous(), gradient.double()
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value, own_gradient = value_and_gradient(LocalResponseNorm(*ALEXNET), x, gradient)
    with torch.autocast("cpu", torch.bfloat16):  # without, torch's layer has no bfloat16 on a processor
        torchs_value, torchs_gradient = value_and_gradient(torch.nn.LocalResponseNorm(*ALEXNET), x, gradient)

    def error(approximate, exact):
        return float((approximate.double() - exact).abs().max() / exact.abs().max())

    assert value.dtype == own_gradient.dtype == torch.bfloat16
    assert ((value.double() - exact_value).abs() <= 2**-8 * exact_value.abs()).all()  # half a unit of 8 bits
    assert error(value, exact_value) <= error(torchs_value.bfloat16(), exact_value)
    assert error(own_gradient, exact_gradient) <= 2**-7
    assert error(own_gradient, exact_gradient) <= error(torchs_gradient, exact_gradient)


def test_float16_does_not_overflow_where_its_squares_would():
    x = torch.full((1, 5, 2, 2), 1000.0, dtype=torch.float16)
    exact = torch.nn.LocalResponseNorm(*ALEXNET)(x.double())
    torch.testing.assert_close(LocalResponseNorm(*ALEXNET)(x).double(), exact, rtol=2**-10, atol=0)


def test_a_sum_that_overflows_gives_zero_as_torchs():
    x = torch.full((1, 5, 2, 2), 1e30)
    torch.testing.assert_close(LocalResponseNorm(*ALEXNET)(x), torch.nn.LocalResponseNorm(*ALEXNET)(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own deprecations are not ours to fix
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_without_a_graph_break(dtype):
    backend = "inductor" if shutil.which("g++") else "aot_eager"  # which inductor begins with
    torch._dynamo.reset()
    layer = LocalResponseNorm(*ALEXNET)
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    x = (draw(2, 16, 3, 4) * 20).to(dtype).contiguous(memory_format=torch.channels_last)
    gradient = draw(2, 16, 3, 4, seed=1).to(dtype)
    own = value_and_gradient(layer, x, gradient)
    fused = value_and_gradient(compiled, x, gradient)
    assert fused[0].stride() == x.stride()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), fused[0])
    for eager, other in zip(own, fused, strict=True):
        torch.testing.assert_close(other, eager, rtol=1e-6 if dtype == torch.float32 else 2**-7, atol=1e-6)


def test_no_gradients_and_empty_batches():
    layer, x = LocalResponseNorm(*ALEXNET), draw(2, 8, 3, 3)
    expected = layer(x.requires_grad_()).detach()
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
        assert not layer(x).requires_grad
    with torch.inference_mode():
        assert torch.equal(layer(x), expected)
    assert layer(draw(0, 8, 3, 3)).shape == (0, 8, 3, 3)
    assert layer(torch.empty(2, 8, 3, 3, device="meta")).shape == (2, 8, 3, 3)


@pytest.mark.parametrize("memory", [torch.clone, channels_last], ids=["nchw", "nhwc"])
def test_a_value_that_is_not_a_number_stays_in_its_window(memory):
    x = draw(3, 8, 4, 4)
    x[1, 2, 1, 1] = float("nan")
    y, gradient = value_and_gradient(LocalResponseNorm(*ALEXNET), memory(x), torch.ones_like(x))
    spread = torch.zeros(3, 8, 4, 4, dtype=torch.bool)
    spread[1, :5, 1, 1] = True  # channels 0 to 4
    assert torch.equal(y.isnan(), spread)
    spread[1, :7, 1, 1] = True  # a gradient reaches one window further
    assert torch.equal(gradient.isnan(), spread)


def test_a_default_device_elsewhere_changes_nothing():
    layer, x = LocalResponseNorm(*ALEXNET), draw(2, 8, 3, 3)
    with torch.device("meta"):
        assert torch.equal(layer(x), layer(x))


def test_copies_hold_no_state():
    layer, x = LocalResponseNorm(*ALEXNET), draw(2, 8, 3, 3)
    layer(x)
    assert not layer.state_dict()
    assert not list(layer.parameters())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))


def test_refusals_name_what_is_wrong():
    with pytest.raises(ValueError, match="size is 0"):
        LocalResponseNorm(0)
    with pytest.raises(ValueError, match=r"shape \(4, 8\).*at least 3"):
        LocalResponseNorm(5)(draw(4, 8))
    with pytest.raises(TypeError, match="int64"):
        LocalResponseNorm(5)(torch.ones(2, 8, 3, dtype=torch.int64))
