"""From an int32 accumulator to an int8 output: TFLite's fixed-point arithmetic, without torch.

A positive real factor is `multiplier * 2**(shift - 31)` with a Q31 multiplier.
Two roundings exist in the field: `tflite` rounds twice (gemmlowp; TFLite's
reference kernels and CMSIS-NN), in matrix products once, ties towards +infinity;
`single` rounds a float32 product once (XNNPACK, onnxruntime; `engine/single.py`).
Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (CVPR 2018), section 2.2 and appendix B;
tensorflow/lite/kernels/internal/quantization_util.cc.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float32, Integer
from numpy.typing import NDArray

Rounding = Literal["tflite", "single"]


def quantize_multiplier(factor: float) -> tuple[int, int]:
    """`(multiplier, shift)` with `factor` close to `multiplier * 2**(shift - 31)`.

    `factor` is finite and not negative. The multiplier is 0 or in [2**30, 2**31),
    so the relative error is at most 2**-31. Factors below 2**-32 become 0, as in TFLite.
    """
    if factor == 0:
        return 0, 0
    mantissa, shift = math.frexp(factor)
    multiplier = math.floor(mantissa * (1 << 31) + 0.5)  # positive: half away from zero
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def output_multipliers(
    input_scale: float, weight_scale: Float32[np.ndarray, " scales"], output_scale: float
) -> tuple[Integer[np.ndarray, " scales"], Integer[np.ndarray, " scales"]]:
    """Multipliers and shifts of `input_scale * weight_scale / output_scale`, in float64 as TFLite."""
    factors = np.float64(input_scale) * weight_scale.astype(np.float64) / np.float64(output_scale)
    pairs = [quantize_multiplier(float(factor)) for factor in factors]
    multiplier, shift = np.array(pairs, np.int64).T
    return multiplier, shift


def requantize(
    acc: Integer[np.ndarray, "*axes channels"],
    *,
    multiplier: Integer[np.ndarray, " scales"] | int,
    shift: Integer[np.ndarray, " scales"] | int,
    once: bool = False,
) -> NDArray[np.int64]:
    """`acc * multiplier * 2**(shift - 31)` rounded twice, or once; bit-exact with the generated C.

    acc         int32 values; `acc * 2**shift` must fit int32 where shift > 0
    multiplier  Q31, 0 or in [2**30, 2**31); one, or one for each channel (the last axis)
    shift       in [-31, 30], to the left
    """
    wide = acc.astype(np.int64)
    shift = np.atleast_1d(np.asarray(shift, np.int64))
    if once:
        right = 31 - shift
        return (wide * multiplier + (np.int64(1) << (right - 1))) >> right
    left = np.maximum(shift, 0)
    return rounding_divide_by_power(high_multiply(wide << left, multiplier), left - shift)


def high_multiply(value: NDArray[np.int64], multiplier: NDArray[np.integer] | int) -> NDArray[np.int64]:
    """`round(value * multiplier / 2**31)`, ties towards +infinity.

    Equals gemmlowp's SaturatingRoundingDoublingHighMul for int32 values and a
    multiplier that is not negative: its negative nudge and truncating division
    round the same ties the same way.
    """
    return (value * multiplier + (1 << 30)) >> 31


def rounding_divide_by_power(value: NDArray[np.int64], exponent: NDArray[np.int64]) -> NDArray[np.int64]:
    """`round(value / 2**exponent)`, ties away from zero; exponent in [0, 31]."""
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (value < 0)
    return (value >> exponent) + ((value & mask) > threshold)
