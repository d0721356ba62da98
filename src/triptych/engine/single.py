"""`rounding="single"`: what LiteRT computes by default, byte for byte.

Convolutions and matrix products are XNNPACK's, which onnxruntime's equal: float32
of the accumulator times a float32 scale, rounded once, ties to even. Sums, means and
rescaling are XNNPACK's, where onnxruntime has others (`docs/engine.md`). Softmax,
which XNNPACK has not in int8, is LiteRT's optimised kernel. All else rounds the same
everywhere. Where scales lie so far apart that XNNPACK has no kernel, the network is
refused.

Source: XNNPACK, src/microparams-init.c and src/operators/reduce-nd.c;
tensorflow/lite/kernels/internal/optimized/optimized_ops.h (Softmax).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from triptych.engine.integer import quantization_of
from triptych.errors import UnsupportedError
from triptych.graph.ops import Add, Graph, Mean, Requantize, Softmax

Wide = NDArray[np.int64]
SUM_BITS = 20  # of the larger factor of a sum, below its leading bit
RESCALE_BITS = 8  # of the factor of a rescaling, below one
SUM_RANGE, RESCALE_RANGE = (2.0**-10, 2.0**8), (2.0**-8, 2.0**7)  # of input scale over output scale


@dataclass(frozen=True)
class SumFactors:
    """`(bias + a * multiplier[0] + b * multiplier[1]) >> shift`; the bias has zero points and a half."""

    multiplier: tuple[int, int]
    bias: int
    shift: int


def nearest(real: Float32[np.ndarray, "..."]) -> Int64[np.ndarray, "..."]:
    """The nearest integers, ties to even."""
    return np.rint(real).astype(np.int64)


def requantize_real(
    acc: Int64[np.ndarray, "*axes channels"], scale: Float32[np.ndarray, " channels"]
) -> Int64[np.ndarray, "*axes channels"]:
    """Accumulators in int32 as output values, without the zero point; one scale a channel."""
    return nearest(acc.astype(np.float32) * scale)


def sum_factors(graph: Graph, op: Add) -> SumFactors:
    """Constants of `op`. Raises UnsupportedError where XNNPACK has no kernel."""
    ratios = [_ratio(graph, name, op, SUM_RANGE) for name in (op.input, op.other)]
    shift = SUM_BITS + 1 - math.frexp(max(map(float, ratios)))[1]
    first, second = (int(np.rint(math.ldexp(float(ratio), shift))) for ratio in ratios)
    zero_points = [quantization_of(graph, name).zero_point for name in (op.input, op.other)]
    return SumFactors(
        (first, second), (1 << shift >> 1) - first * zero_points[0] - second * zero_points[1], shift
    )


def add_once(graph: Graph, op: Add, x: Wide, y: Wide) -> Wide:
    """The sum before its clamp."""
    factors = sum_factors(graph, op)
    total = factors.bias + x * factors.multiplier[0] + y * factors.multiplier[1]
    return (total >> factors.shift) + quantization_of(graph, op.output).zero_point


def mean_factors(graph: Graph, op: Mean) -> tuple[np.float32, np.float32]:
    """Scale and bias of the sum of the values; of the bias the output's zero point is a part."""
    ratio = _ratio(graph, op.input, op, RESCALE_RANGE)
    count = math.prod(graph[op.input].shape[axis] for axis in op.axes)
    scale = ratio * (np.float32(1) / np.float32(count))
    before, after = (np.float32(quantization_of(graph, name).zero_point) for name in (op.input, op.output))
    return scale, after - np.float32(count) * before * scale


def mean_once(graph: Graph, op: Mean, x: Wide) -> Wide:
    """The mean before its clamp."""
    scale, bias = mean_factors(graph, op)
    return nearest(x.sum(axis=op.axes, keepdims=True).astype(np.float32) * scale + bias)


def rescale_factor(graph: Graph, op: Requantize) -> int:
    """Factor of `op` in 1/256. Raises UnsupportedError where XNNPACK has no kernel."""
    return int(np.rint(_ratio(graph, op.input, op, RESCALE_RANGE) * np.float32(1 << RESCALE_BITS)))


def rescale_once(graph: Graph, op: Requantize, x: Wide) -> Wide:
    """The same reals on the output's grid."""
    centred = x - quantization_of(graph, op.input).zero_point
    moved = (centred * rescale_factor(graph, op) + (1 << RESCALE_BITS >> 1)) >> RESCALE_BITS
    return moved + quantization_of(graph, op.output).zero_point


def exponentials(scale: float, beta: float) -> Float32[np.ndarray, " 256"]:
    """`exp(-beta * scale * k)` for k = 0 to 255."""
    return np.array([math.exp(-beta * scale * k) for k in range(256)], np.float32)


def softmax_once(graph: Graph, op: Softmax, x: Wide) -> Wide:
    """Shares in 1/256 from 0 on; powers are summed from left to right."""
    powers = exponentials(quantization_of(graph, op.input).scale, op.beta)[x.max(axis=-1, keepdims=True) - x]
    total = np.add.accumulate(powers, axis=-1, dtype=np.float32)[..., -1:]
    share = powers * (np.float32(1) / (total * np.float32(1 / 256)))
    whole = np.floor(share)
    return (whole + (share - whole >= np.float32(0.5))).astype(np.int64)


def _ratio(graph: Graph, name: str, op: Add | Mean | Requantize, allowed: tuple[float, float]) -> np.float32:
    source, output = quantization_of(graph, name).scale, quantization_of(graph, op.output).scale
    ratio = np.float32(source) / np.float32(output)
    if not allowed[0] <= ratio < allowed[1]:
        raise UnsupportedError(
            f'operator {op.name!r}: with rounding="single" scale {source} of {name!r} over {output} must lie '
            f'from {allowed[0]} to {allowed[1]}, as in XNNPACK; use rounding="tflite"'
        )
    return ratio
