"""The C of `kernels/` on tensors: float32, channels last, one thread."""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from triptych.native import load_kernels

EPSILON = 1e-5  # added to the variance
CHUNK = 256  # rows, as in expand.c
POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
CHANNELS_LAST = torch.channels_last


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


class Expansion(NamedTuple):
    """What `expand` computed and from what: `gram` has the sums of the products of `x`, and of `x`."""

    x: Tensor
    weight: Tensor
    gain: Tensor
    moments: Tensor
    gram: Tensor
    out: Tensor


def expand(x: Tensor, weight: Tensor, gain: Tensor, bias: Tensor) -> Expansion:
    """ReLU6 of the normalized 1x1 convolution of `x` with `weight` [outputs, inputs]."""
    outputs, inputs = weight.shape
    out = torch.empty((len(x), outputs, *x.shape[2:]), memory_format=CHANNELS_LAST)
    moments, gram = torch.empty(2, outputs), torch.empty(inputs + 1, inputs, dtype=torch.float64)
    scratch = torch.empty(inputs + (inputs + 1) * outputs, dtype=torch.float64)
    tensors = _addresses(x, weight, gain, bias, out, moments, gram, scratch)
    _kernels().expand(*tensors, x.numel() // inputs, inputs, outputs, EPSILON)
    return Expansion(x, weight, gain, moments, gram, out)


def expand_gradient(of: Expansion, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `x`, of the weight, and [2, outputs] of gain and bias."""
    outputs, inputs = of.weight.shape
    gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
    slope, to_weight, inner = torch.empty_like(of.x), torch.empty_like(of.weight), torch.empty(2, outputs)
    larger = max(inputs, outputs)
    scratch = torch.empty((inputs + CHUNK + 3) * larger + 2 * inputs * outputs, dtype=torch.float64)
    tensors = _addresses(*of, gradient, slope, to_weight, inner, scratch)
    _kernels().expand_gradient(*tensors, of.x.numel() // inputs, inputs, outputs)
    return slope, to_weight, inner


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


@cache
def _kernels() -> ctypes.CDLL:
    library = load_kernels(Path(__file__).parent / "kernels")
    library.normalize.argtypes = [*[POINTER] * 6, SIZE, SIZE, ctypes.c_double, ctypes.c_int]
    library.normalize_gradient.argtypes = [*[POINTER] * 8, SIZE, SIZE, ctypes.c_int]
    library.depthwise_gradient.argtypes = [*[POINTER] * 4, SIZE * 9]
    library.expand.argtypes = [*[POINTER] * 8, SIZE, SIZE, SIZE, ctypes.c_double]
    library.expand_gradient.argtypes = [*[POINTER] * 11, SIZE, SIZE, SIZE]
    for name in ("normalize", "normalize_gradient", "depthwise_gradient", "expand", "expand_gradient"):
        getattr(library, name).restype = None
    return library
