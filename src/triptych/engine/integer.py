"""The integer constants of every operator: what TFLite's `Prepare` computes from scales.

Reference and generated C share them. Where an int32 accumulator could overflow
for some input, the network is refused: signed overflow is undefined in C.
Source: tensorflow/lite/kernels/{kernel_util,add}.cc.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from triptych.errors import UnsupportedError
from triptych.graph.ops import (
    Activation,
    Add,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    Mean,
    Pad,
    Quantization,
    Requantize,
    Weighted,
)
from triptych.quantization.requantize import output_multipliers, quantize_multiplier

INT8_MIN, INT8_MAX, INT32_MAX = -128, 127, 2**31 - 1
ADD_LEFT_SHIFT = 20  # headroom bits of TFLite's int8 Add


@dataclass(frozen=True)
class Requantization:
    """Factors of a weighted operator, one for each output channel."""

    multiplier: Int64[np.ndarray, " out"]
    shift: Int64[np.ndarray, " out"]
    scale: Float32[np.ndarray, " out"]  # the same as a float, for `rounding="single"`


@dataclass(frozen=True)
class AddConstants:
    """Both inputs are brought to a common scale, `2**-20` of twice the larger one."""

    multiplier: tuple[int, int]  # of input and other
    shift: tuple[int, int]
    output_multiplier: int
    output_shift: int


def quantization_of(graph: Graph, name: str) -> Quantization:
    """The quantization of tensor `name`, which an integer network has."""
    quantization = graph[name].quantization
    assert quantization is not None, f"tensor {name!r} is not quantized"
    return quantization


def clamp_range(activation: Activation, output: Quantization) -> tuple[int, int]:
    """Lowest and highest int8 output of a fused activation; scale arithmetic in float32, as TFLite."""

    def quantize(real: float) -> int:
        ratio = float(np.float32(real) / np.float32(output.scale))
        return output.zero_point + int(np.floor(ratio + 0.5))  # not negative: half away from zero

    low = INT8_MIN if activation == "none" else max(INT8_MIN, quantize(0.0))
    high = min(INT8_MAX, quantize(6.0)) if activation == "relu6" else INT8_MAX
    return low, high


def requantization(graph: Graph, op: Weighted) -> Requantization:
    """Multipliers and shifts of `op`. Raises UnsupportedError where accumulator or scale could overflow."""
    source, output = quantization_of(graph, op.input), quantization_of(graph, op.output)
    channels = len(op.bias)
    multiplier, shift = _factors(op, source, output)
    with np.errstate(over="ignore"):
        scale = np.float32(source.scale) * _weight_scale(op) / np.float32(output.scale)
    if not np.isfinite(scale).all():
        raise UnsupportedError(
            f"operator {op.name!r}: scale {source.scale} of {op.input!r} and {output.scale} of {op.output!r} "
            "lie further apart than float32 holds; rescale the layer"
        )
    result = Requantization(*(np.broadcast_to(each, channels) for each in (multiplier, shift, scale)))
    largest, allowed = _largest_accumulators(op), INT32_MAX >> np.maximum(result.shift, 0)
    for channel in np.flatnonzero(largest > allowed)[:1]:
        raise UnsupportedError(
            f"operator {op.name!r}: channel {channel} (bias {op.bias[channel]}, shift "
            f"{result.shift[channel]}) can reach {largest[channel]}, above {allowed[channel]}, "
            "and overflow int32; rescale the layer"
        )
    return result


def _factors(
    op: Weighted, source: Quantization, output: Quantization
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    scales = _weight_scale(op)
    if isinstance(op, FullyConnected) and len(scales) == 1:
        # one scale for all: TFLite forms the product of scales in float32
        product = np.float32(source.scale) * scales
        return output_multipliers(1.0, product, output.scale)
    return output_multipliers(source.scale, scales, output.scale)


def _weight_scale(op: Weighted) -> Float32[np.ndarray, " scales"]:
    assert op.weight_scale is not None, f"operator {op.name!r} is not quantized"
    return op.weight_scale


def _largest_accumulators(op: Weighted) -> NDArray[np.int64]:
    """A bound on |accumulator| during any order of summation, the zero point folded into the bias or not."""
    magnitude = np.abs(op.weight.astype(np.int64))
    channel = 3 if isinstance(op, DepthwiseConv2D) else 0
    total = np.moveaxis(magnitude, channel, 0).reshape(len(op.bias), -1).sum(axis=1)
    return np.abs(op.bias.astype(np.int64)) + 256 * total


def add_constants(graph: Graph, op: Add) -> AddConstants:
    """Factors of `op`. Raises UnsupportedError where the output is too fine for TFLite's headroom."""
    first, second, output = (quantization_of(graph, name).scale for name in (op.input, op.other, op.output))
    twice_largest = float(2 * max(np.float32(first), np.float32(second)))
    pairs = [quantize_multiplier(scale / twice_largest) for scale in (first, second)]
    factor = twice_largest / float(np.float32(1 << ADD_LEFT_SHIFT) * np.float32(output))
    if factor >= 1:
        raise UnsupportedError(
            f"operator {op.name!r}: output scale {output} is more than 2**19 times finer than its inputs' "
            f"{max(first, second)}; TFLite's Add has no factor for that"
        )
    multiplier, shift = quantize_multiplier(factor)
    return AddConstants((pairs[0][0], pairs[1][0]), (pairs[0][1], pairs[1][1]), multiplier, shift)


def mean_constants(graph: Graph, op: Mean) -> tuple[int, int, int]:
    """Number of values averaged, and the factor (multiplier, shift) of their sum.

    TFLite divides the Q31 multiplier of the scales by the count (reduce.cc).
    Raises UnsupportedError where the sum could overflow.
    """
    count = math.prod(graph[op.input].shape[axis] for axis in op.axes)
    source, output = quantization_of(graph, op.input).scale, quantization_of(graph, op.output).scale
    multiplier, shift = quantize_multiplier(source / output)
    bits = min(count.bit_length() - 1, 31 + shift)
    shift -= bits
    if shift < -31 or 255 * count > INT32_MAX >> max(shift, 0):
        raise UnsupportedError(
            f"operator {op.name!r}: the mean of {count} values with scales {source} and {output} "
            "overflows int32"
        )
    return count, (multiplier << bits) // count, shift


def requantize_constants(graph: Graph, op: Requantize) -> tuple[int, int]:
    """Multiplier and shift of `op`. Raises UnsupportedError where a value could leave int32."""
    source, output = quantization_of(graph, op.input).scale, quantization_of(graph, op.output).scale
    multiplier, shift = quantize_multiplier(source / output)
    if shift > 0 and INT32_MAX >> min(shift, 31) < 255:
        raise UnsupportedError(
            f"operator {op.name!r}: output scale {output} is more than 2**23 times finer than the input's "
            f"{source}; that overflows int32"
        )
    return multiplier, shift


def pad_value(graph: Graph, op: Pad) -> int:
    """What `op` fills with: its own value, or the real zero."""
    return quantization_of(graph, op.output).zero_point if op.value is None else op.value
