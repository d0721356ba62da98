"""TFLite's int8 softmax in fixed point: exponentials as a table, one reciprocal a row.

Exponentials are Q0.31, their sum Q12.19. Source: gemmlowp's fixedpoint.h and
tensorflow/lite/kernels/internal/reference/softmax.h.
"""

import math

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from triptych.quantization.requantize import quantize_multiplier, rounding_divide_by_power

ONE, INTEGER_BITS, SUM_BITS = 2**31 - 1, 5, 12
STEPS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)  # exp(-1/4), exp(-1/2), ...

Wide = NDArray[np.int64]


def softmax_table(scale: float, beta: float) -> NDArray[np.int32]:
    """`exp(-beta * scale * k)` in Q0.31 for k = 0 to 255: a value k steps below its row's largest."""
    factor = min(float(np.float32(beta)) * float(np.float32(scale)) * 2.0 ** (31 - INTEGER_BITS), 2.0**31 - 1)
    multiplier, shift = quantize_multiplier(factor)
    radius = math.floor((2**INTEGER_BITS - 1) * 2.0 ** (31 - INTEGER_BITS) / 2.0**shift)
    steps = np.arange(min(radius, 255) + 1, dtype=np.int64)
    table = np.zeros(256, np.int64)
    table[: len(steps)] = _exponential(_high_multiply(-steps << max(shift, 0), multiplier))
    return table.astype(np.int32)


def normalise(powers: Int64[np.ndarray, "*rows channels"]) -> Int64[np.ndarray, "*rows channels"]:
    """Each row of exponentials divided by its sum, in 1/256."""
    total = rounding_divide_by_power(powers, np.array(SUM_BITS)).sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of 32 bits
    scale = _reciprocal((total << headroom) - 2**31)
    exponent = np.minimum(SUM_BITS - headroom + 23, 62)
    return rounding_divide_by_power(_high_multiply(scale, powers), exponent)


def _high_multiply(a: Wide, b: Wide | int) -> Wide:
    """SaturatingRoundingDoublingHighMul, ties away from zero."""
    product = a * b
    return np.sign(product) * ((np.abs(product) + 2**30 - (product < 0)) >> 31)


def _exponential(a: Wide) -> Wide:
    """Exponentials of values that are not positive in Q5.26, as Q0.31."""
    quarter = 1 << 24
    modulo = (a & (quarter - 1)) - quarter
    result, remainder = _exponential_below_quarter(modulo << INTEGER_BITS), modulo - a
    for bit, step in enumerate(STEPS):
        result = np.where(remainder & (quarter << bit), _high_multiply(result, step), result)
    return np.where(a == 0, ONE, result)


def _exponential_below_quarter(a: Wide) -> Wide:
    """Exponentials on [-1/4, 0) in Q0.31, a Taylor series around -1/8."""
    constant, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = _high_multiply(x, x)
    x3, x4 = _high_multiply(x2, x), _high_multiply(x2, x2)
    inner = _high_multiply(rounding_divide_by_power(x4, np.array(2)) + x3, third) + x2
    return constant + _high_multiply(x + rounding_divide_by_power(inner, np.array(1)), constant)


def _reciprocal(a: Wide) -> Wide:
    """1 / (1 + a) for a in [0, 1) in Q0.31: Newton and Raphson, three times."""
    half = (a + ONE + 1) >> 1
    x = 1515870810 + _high_multiply(half, -1010580540)
    for _ in range(3):
        x = x + np.clip(_high_multiply(x, (1 << 29) - _high_multiply(half, x)) << 2, -(2**31), ONE)
    return np.clip(x << 1, -(2**31), ONE)
