"""The fused layer against the operators it stands for, which autograd differentiates."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.tiny.compiled import EPSILON, depthwise_gradient
from triptych.tiny.elastic import elastic_conv
from triptych.tiny.fused import fused_layer
from triptych.tiny.topology import Layer

LAYERS = [
    Layer("stem", "conv", 3, 16, 3, 2),
    Layer("expand", "conv", 16, 48),
    Layer("project", "conv", 48, 24, activation="none"),
    *(Layer(f"dw{k}s{s}", "depthwise", 24, 24, k, s) for k in (3, 5, 7) for s in (1, 2)),
]
WIDTHS = [(8, 24), (16, 48), (24, 40), (40, 16)]  # of expansions: one vector of columns or two, and both
CASES = [
    *((layer, size) for layer in LAYERS for size in (1, 5, 8, 9)),
    *((Layer(f"expand{n}to{m}", "conv", n, m), 19) for n, m in WIDTHS),  # 2,166 pixels: in one pass
]


def plain(x: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, layer: Layer) -> Tensor:
    n = layer.outputs
    y = elastic_conv(x, weight, layer)
    y = F.batch_norm(y, None, None, gain[:n], bias[:n], training=True, eps=EPSILON)
    return F.relu6(y) if layer.activation == "relu6" else y


@pytest.mark.parametrize(("layer", "size"), CASES, ids=lambda case: getattr(case, "name", str(case)))
def test_values_and_gradients_are_those_of_the_operators(layer: Layer, size: int):
    """In double precision, from larger shared weights, where the image is smaller than the kernel too."""
    rng = torch.Generator().manual_seed(0)
    inputs = 1 if layer.kind == "depthwise" else layer.inputs + (8 if layer.kernel_size == 1 else 0)
    largest = layer.kernel_size + (4 if layer.kind == "depthwise" else 0)
    shapes = ((6, layer.inputs, size, size), (layer.outputs + 8, inputs, largest, largest))
    x, weight = (torch.randn(shape, generator=rng) for shape in shapes)
    gain = torch.rand(layer.outputs + 8, generator=rng) + 0.5
    bias = torch.rand(layer.outputs + 8, generator=rng) * 2
    exact = [value.double().requires_grad_() for value in (x, weight, gain, bias)]
    single = [value.clone().requires_grad_() for value in (x, weight, gain, bias)]
    expected = plain(exact[0], exact[1], exact[2], exact[3], layer)
    found = fused_layer(single[0], single[1], single[2], single[3], layer)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    # no gradient where single and double precision disagree on which side of a kink a value is
    kept = ((expected - expected.clamp(1e-3, 6 - 1e-3)).abs() == 0) | (layer.activation == "none")
    slope = torch.randn(expected.shape, generator=rng, dtype=torch.float64) * kept
    expected.backward(slope)
    found.backward(slope.float())
    for a, b in zip(single, exact, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        scale = b.grad.abs().max().item() + 1e-3
        torch.testing.assert_close(a.grad.double() / scale, b.grad / scale, rtol=0, atol=1e-4)


def test_an_image_needs_no_gradient():
    """The stem's input is the image: a gradient of it is work for nothing."""
    layer = LAYERS[0]
    x, weight = torch.rand(2, 3, 8, 8), torch.randn(16, 3, 3, 3).requires_grad_()
    fused_layer(x, weight, torch.ones(16), torch.zeros(16), layer).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize("channels", [8, 16, 40])
def test_the_kernel_takes_any_multiple_of_eight_channels(channels: int):
    """Sixteen at a time, and eight at the end."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, 6, 6, generator=rng).contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(channels, 1, 5, 5, requires_grad=True)
    y = F.conv2d(x, weight, None, 1, 2, groups=channels)
    slope = torch.randn(y.shape, generator=rng).contiguous(memory_format=torch.channels_last)
    y.backward(slope)
    torch.testing.assert_close(depthwise_gradient(x, slope, 5, 1, 2), weight.grad, rtol=1e-4, atol=1e-4)


def test_what_two_channels_share_does_not_hide_in_what_they_differ():
    """An expansion takes its moments from products of its input: in single precision nothing is left."""
    rng = torch.Generator().manual_seed(2)
    layer = Layer("expand", "conv", 8, 8)
    x = torch.randn(8, 8, 16, 16, generator=rng)
    x[:, 1] = x[:, 0] + 2e-3 * x[:, 2]
    weight = torch.randn(8, 8, 1, 1, generator=rng)
    weight[0, :, 0, 0] = torch.tensor([30.0, -30.0, *[0.0] * 6])
    gain, bias = torch.ones(8), torch.full((8,), 3.0)
    exact = plain(x.double(), weight.double(), gain.double(), bias.double(), layer)
    found = fused_layer(x, weight, gain, bias, layer)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3)
