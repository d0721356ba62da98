"""A layer in training as one step of autograd: convolution, normalization by the batch, activation.

What `elastic_conv`, `F.batch_norm` and `F.relu6` compute, in less than half the
time on a CPU: 1x1 convolutions are matrix products on views of the shared
weights, normalization and activation share their passes, and the weight gradient
of depthwise convolutions is our own (`kernels/`). On large images an expansion
goes once over memory in each direction. Channels last, float32.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from triptych.graph.ops import padding_of
from triptych.tiny.compiled import (
    CHANNELS_LAST,
    Expansion,
    depthwise_gradient,
    expand,
    expand_gradient,
    normalize,
    normalize_gradient,
)
from triptych.tiny.elastic import crop_kernel, pad_same, subnet_weight
from triptych.tiny.topology import Layer

MOST_THREADS = 4  # the kernels use one
MANY_PIXELS = 2048  # from here memory is slower than arithmetic


def fused_layer(x: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, layer: Layer) -> Tensor:
    """The output of `layer`, normalized by the batch; weight, gain and bias are the largest versions."""
    expands = _is_product(layer) and layer.activation == "relu6"
    function = FusedExpansion if expands and x.numel() >= MANY_PIXELS * layer.inputs else FusedLayer
    y: Any = function.apply(x, weight, gain, bias, layer)
    return y


def runs_on(x: Tensor) -> bool:
    """Whether the kernels are for such an input and machine."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and torch.get_num_threads() <= MOST_THREADS


class FusedLayer(torch.autograd.Function):
    """Keeps the convolution's input and output; the rest is computed again."""

    @staticmethod
    def forward(  # autograd's signature
        ctx: Any,  # noqa: ANN401  # autograd's
        x: Tensor,
        weight: Tensor,
        gain: Tensor,
        bias: Tensor,
        layer: Layer,
    ) -> Tensor:
        own, size = subnet_weight(weight, layer), x.shape[2]
        x, padding = pad_same(x.contiguous(memory_format=CHANNELS_LAST), layer.kernel_size, layer.stride)
        ctx.layer, ctx.padding, ctx.shape, ctx.size = layer, padding, weight.shape, size
        y = _convolve(x, own, layer, padding)
        gain, bias = gain[: layer.outputs], bias[: layer.outputs]
        out, moments = normalize(y, gain, bias, clamps=layer.activation == "relu6")
        ctx.save_for_backward(x, own, y, gain, bias, moments)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator hides the names
        ctx: Any,  # noqa: ANN401  # autograd's
        gradient: Tensor,
    ) -> tuple[Tensor | None, ...]:
        x, own, y, gain, bias, moments = ctx.saved_tensors
        layer: Layer = ctx.layer
        clamps = layer.activation == "relu6"
        slope, inner = normalize_gradient(y, gradient, gain, bias, moments, clamps=clamps)
        to_input, to_weight = _gradients(x, own, slope, layer, ctx.padding, asked=ctx.needs_input_grad[0])
        if to_input is not None and to_input.shape[2] != ctx.size:
            before, _ = padding_of(ctx.size, layer.kernel_size, layer.stride, "same")
            to_input = to_input[:, :, before : before + ctx.size, before : before + ctx.size]
        return to_input, *_within(ctx.shape, layer, to_weight, inner), None


class FusedExpansion(torch.autograd.Function):
    """A 1x1 convolution with ReLU6 on many pixels: passes over memory decide, so there is one each way."""

    @staticmethod
    def forward(  # autograd's signature
        ctx: Any,  # noqa: ANN401  # autograd's
        x: Tensor,
        weight: Tensor,
        gain: Tensor,
        bias: Tensor,
        layer: Layer,
    ) -> Tensor:
        own = subnet_weight(weight, layer)[:, :, 0, 0].contiguous()
        done = expand(x.contiguous(memory_format=CHANNELS_LAST), own, gain, bias)
        ctx.layer, ctx.shape = layer, weight.shape
        ctx.save_for_backward(*done)
        return done.out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator hides the names
        ctx: Any,  # noqa: ANN401  # autograd's
        gradient: Tensor,
    ) -> tuple[Tensor | None, ...]:
        to_input, to_weight, inner = expand_gradient(Expansion(*ctx.saved_tensors), gradient)
        return to_input, *_within(ctx.shape, ctx.layer, to_weight[:, :, None, None], inner), None


def _within(
    shape: torch.Size, layer: Layer, to_weight: Tensor, inner: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the largest weight, gain and bias: zero but for the part that `layer` uses."""
    whole = torch.zeros(shape).to(memory_format=CHANNELS_LAST)
    crop_kernel(whole[: layer.outputs, : to_weight.shape[1]], layer.kernel_size).copy_(to_weight)
    vectors = torch.zeros(2, shape[0])
    vectors[:, : layer.outputs] = inner
    return whole, vectors[0], vectors[1]


def _convolve(x: Tensor, own: Tensor, layer: Layer, padding: int | tuple[int, int]) -> Tensor:
    if _is_product(layer):
        return _as_image(_pixels(x) @ own[:, :, 0, 0].t(), x)
    return F.conv2d(x, own, None, layer.stride, padding, groups=_groups(layer))


def _gradients(  # what it was computed from
    x: Tensor, own: Tensor, slope: Tensor, layer: Layer, padding: int | tuple[int, int], *, asked: bool
) -> tuple[Tensor | None, Tensor]:
    """Of the convolution's input, where it is `asked` for, and of its weight."""
    if _is_product(layer):
        flat = _pixels(slope)
        return _as_image(flat @ own[:, :, 0, 0], x), (flat.t() @ _pixels(x))[:, :, None, None]
    pads = (padding, padding) if isinstance(padding, int) else padding
    depthwise, k = layer.kind == "depthwise", layer.kernel_size
    if depthwise and layer.stride == 1:  # a convolution too, and faster as one
        to_input = F.conv2d(slope, own.flip(2, 3), None, 1, k - 1 - pads[0], groups=_groups(layer))
        return to_input, depthwise_gradient(x, slope, k, 1, pads[0])
    stride, mask = [layer.stride] * 2, [asked, not depthwise, False]
    to_input, to_weight, _ = torch.ops.aten.convolution_backward(
        slope, x, own, None, stride, pads, [1, 1], False, [0, 0], _groups(layer), mask
    )
    return to_input, depthwise_gradient(x, slope, k, layer.stride, pads[0]) if depthwise else to_weight


def _is_product(layer: Layer) -> bool:
    return layer.kernel_size == 1 and layer.kind == "conv"


def _groups(layer: Layer) -> int:
    return layer.inputs if layer.kind == "depthwise" else 1


def _pixels(x: Tensor) -> Tensor:
    """[pixels, channels], a view."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _as_image(pixels: Tensor, like: Tensor) -> Tensor:
    batch, _, height, width = like.shape
    return pixels.view(batch, height, width, -1).permute(0, 3, 1, 2)
