"""Affine int8: `real = scale * (integer - zero_point)`, by TFLite's quantization specification.

Activations are asymmetric per tensor, weights symmetric per output channel in
[-127, 127], or of 4 bits in [-7, 7], biases int32 with the scale of the accumulator.
"""

import numpy as np
from numpy.typing import NDArray

from triptych.graph.ops import Quantization

LOWEST, HIGHEST = -128, 127
LEVELS = HIGHEST - LOWEST
WEIGHT_LIMITS = {8: 127, 4: 7}  # by bits
BIAS_LIMIT = 2**30  # leaves the accumulator room for the products
MULTIPLIER_LIMIT = 2.0**-30  # of input scale * weight scale / output scale; below it the shift has no bits


def activation_quantization(low: float, high: float) -> Quantization:
    """The grid that covers [low, high] and represents zero exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / LEVELS) if high > low else np.float32(1)
    scale = max(scale, np.finfo(np.float32).tiny)
    zero_point = int(np.clip(np.rint(LOWEST - low / float(scale)), LOWEST, HIGHEST))
    return Quantization(float(scale), zero_point)


def quantize(real: NDArray[np.floating], grid: Quantization) -> NDArray[np.int8]:
    """The nearest integers, clamped."""
    integers = np.rint(np.asarray(real, np.float64) / grid.scale) + grid.zero_point
    return np.clip(integers, LOWEST, HIGHEST).astype(np.int8)


def dequantize(integers: NDArray[np.integer], grid: Quantization) -> NDArray[np.float64]:
    """The reals that the integers stand for."""
    return grid.scale * (integers.astype(np.float64) - grid.zero_point)


def weight_scale(
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    *,
    input_scale: float,
    output_scale: float,
    bits: int = 8,
) -> NDArray[np.float32]:
    """Scale of each output channel (the first axis of `weight`), float32.

    Dead channels have next to no weights but may have a bias: their scale is
    raised until the bias fits in int32 and the multiplier has a valid shift.
    """
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    for_bias = np.abs(bias) / (input_scale * BIAS_LIMIT)
    for_shift = MULTIPLIER_LIMIT * output_scale / input_scale
    return np.maximum(np.maximum(largest / WEIGHT_LIMITS[bits], for_bias), for_shift).astype(np.float32)


def quantize_weight(
    weight: NDArray[np.floating], scale: NDArray[np.float32], bits: int = 8
) -> NDArray[np.int8]:
    """Symmetric, in [-127, 127], or [-7, 7] of 4 bits; `scale` broadcasts against `weight`."""
    integers = np.rint(np.asarray(weight, np.float64) / scale)
    limit = WEIGHT_LIMITS[bits]
    return np.clip(integers, -limit, limit).astype(np.int8)


def quantize_bias(
    bias: NDArray[np.floating], *, input_scale: float, scale: NDArray[np.float32]
) -> NDArray[np.int32]:
    """int32 in units of the accumulator, `input_scale * scale`."""
    return np.rint(np.asarray(bias, np.float64) / (input_scale * scale.astype(np.float64))).astype(np.int32)
