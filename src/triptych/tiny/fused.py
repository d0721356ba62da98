"""A layer in training as one step of autograd: convolution, normalization by the batch, activation.

What `elastic_conv`, `F.batch_norm` and `F.relu6` compute, in half the time on a
CPU: 1x1 convolutions are matrix products on views of the shared weights,
normalization and activation share their passes, and the weight gradient of
depthwise convolutions is our own (`kernels/`). Channels last, float32.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from triptych.graph.ops import padding_of
from triptych.native import load_kernels
from triptych.tiny.elastic import crop_kernel, pad_same, subnet_weight
from triptych.tiny.topology import Layer

EPSILON = 1e-5  # added to the variance
MOST_THREADS = 4  # the kernels use one
POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
CHANNELS_LAST = torch.channels_last


def fused_layer(x: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, layer: Layer) -> Tensor:
    """The output of `layer`, normalized by the batch; weight, gain and bias are the largest versions."""
    y: Any = FusedLayer.apply(x, weight, gain, bias, layer)
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
        whole = torch.zeros(ctx.shape).to(memory_format=CHANNELS_LAST)
        crop_kernel(whole[: layer.outputs, : to_weight.shape[1]], layer.kernel_size).copy_(to_weight)
        vectors = torch.zeros(2, ctx.shape[0])
        vectors[:, : layer.outputs] = inner
        return to_input, whole, vectors[0], vectors[1], None


def normalize(y: Tensor, gain: Tensor, bias: Tensor, *, clamps: bool) -> tuple[Tensor, Tensor]:
    """Batch normalization, with ReLU6 where it `clamps`; and [2, channels] mean and 1 / deviation."""
    channels = y.shape[1]
    out, moments = torch.empty_like(y), torch.empty(2, channels)
    scratch = torch.empty(4 * channels, dtype=torch.float64)
    rows = y.numel() // channels
    _kernels().normalize(*_addresses(y, out, gain, bias, moments, scratch), rows, channels, EPSILON, clamps)
    return out, moments


def normalize_gradient(  # what it was computed from
    y: Tensor, gradient: Tensor, gain: Tensor, bias: Tensor, moments: Tensor, *, clamps: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of `normalize`: of `y`, and [2, channels] of gain and bias."""
    channels = y.shape[1]
    gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
    slope, inner = torch.empty_like(y), torch.empty(2, channels)
    scratch = torch.empty(4 * channels, dtype=torch.float64)
    tensors = _addresses(y, gradient, slope, gain, bias, moments, inner, scratch)
    _kernels().normalize_gradient(*tensors, y.numel() // channels, channels, clamps)
    return slope, inner


def depthwise_gradient(x: Tensor, gradient: Tensor, kernel_size: int, stride: int, padding: int) -> Tensor:
    """Of the weight [channels, 1, kernel, kernel]; `x` and `gradient` are channels last."""
    (batch, channels, height, width), (rows, columns) = x.shape, gradient.shape[2:]
    weight = torch.empty(channels, 1, kernel_size, kernel_size)
    scratch = torch.empty((width + 2 * padding + kernel_size**2) * 16)
    shape = (SIZE * 9)(batch, height, width, channels, rows, columns, kernel_size, stride, padding)
    _kernels().depthwise_gradient(*_addresses(x, gradient, weight, scratch), shape)
    return weight


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


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


@cache
def _kernels() -> ctypes.CDLL:
    library = load_kernels(Path(__file__).parent / "kernels")
    library.normalize.argtypes = [*[POINTER] * 6, SIZE, SIZE, ctypes.c_double, ctypes.c_int]
    library.normalize_gradient.argtypes = [*[POINTER] * 8, SIZE, SIZE, ctypes.c_int]
    library.depthwise_gradient.argtypes = [*[POINTER] * 4, SIZE * 9]
    for function in (library.normalize, library.normalize_gradient, library.depthwise_gradient):
        function.restype = None
    return library
