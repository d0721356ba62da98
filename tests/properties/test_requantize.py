"""Fixed-point arithmetic against exact rationals: one wrong bit here is a wrong firmware."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from triptych.quantization.requantize import output_multipliers, quantize_multiplier, requantize

INT32 = st.integers(-(2**31), 2**31 - 1)
Q31 = st.one_of(st.just(0), st.integers(2**30, 2**31 - 1))


def half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


def apply(acc: int, multiplier: int, shift: int, *, once: bool) -> int:
    result = requantize(np.array([acc]), multiplier=multiplier, shift=shift, once=once)
    return int(result[0])


@given(INT32, Q31, st.integers(-31, 30))
def test_single_rounding_is_the_exact_product_rounded_half_up(acc: int, multiplier: int, shift: int):
    """The claim in the docstring, over the whole range of the contract."""
    exact = Fraction(acc) * multiplier * Fraction(2) ** (shift - 31)
    assert apply(acc, multiplier, shift, once=True) == half_up(exact)


@given(st.data(), Q31, st.integers(-31, 30))
def test_tflite_rounding_is_two_exact_roundings(data, multiplier: int, shift: int):
    """Double rounding is what LiteRT's reference kernels and CMSIS-NN do; ours must tie alike."""
    left = max(shift, 0)
    acc = data.draw(st.integers(-(2**31 >> left), (2**31 - 1) >> left))
    high = half_up(Fraction((acc << left) * multiplier, 2**31))
    assert apply(acc, multiplier, shift, once=False) == half_away(Fraction(high, 2 ** (left - shift)))


@given(st.integers(-(2**20), 2**20), st.integers(-20, 0))
def test_ties_go_where_each_rounding_says(odd: int, shift: int):
    """An exact tie is the only place where rounding half up and half away differ."""
    acc = 2 * odd + 1
    assert apply(acc, 1 << 30, 0, once=True) == odd + 1
    assert apply(acc, 1 << 30, 0, once=False) == odd + 1
    assert apply(2 * acc, 1 << 30, -1, once=False) == (odd + 1 if odd >= 0 else odd)


def gemmlowp(acc: int, multiplier: int) -> int:
    """SaturatingRoundingDoublingHighMul as written in gemmlowp/fixedpoint.h, C division included."""
    product = acc * multiplier
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    return nudged // (1 << 31) if nudged >= 0 else -(-nudged // (1 << 31))


@given(INT32, Q31)
def test_high_multiply_equals_gemmlowp(acc: int, multiplier: int):
    """Ours is one shift instead of a nudge and a division: that they agree is a theorem, tested."""
    assert apply(acc, multiplier, 0, once=False) == gemmlowp(acc, multiplier)


@given(st.floats(2.0**-31, 2.0**30))
def test_multiplier_represents_its_factor_to_31_bits(factor: float):
    """A coarser multiplier would move outputs by a step on large accumulators."""
    multiplier, shift = quantize_multiplier(factor)
    assert 2**30 <= multiplier < 2**31
    represented = Fraction(multiplier) * Fraction(2) ** (shift - 31)
    assert abs(represented / Fraction(factor) - 1) <= Fraction(1, 2**31)


@given(st.floats(0, 2.0**-33, exclude_max=True))
def test_vanishing_factors_become_zero(factor: float):
    """Dead channels: TFLite flushes what no shift of its kernels can express."""
    assert quantize_multiplier(factor) == (0, 0)


def test_multiplier_that_rounds_up_to_one_moves_into_the_shift():
    """1 - 2**-53 rounds to 2**31, which is not a Q31 number."""
    assert quantize_multiplier(1 - 2.0**-53) == (1 << 30, 1)


def test_each_channel_has_its_own_factor():
    """Per-channel scales are the point of per-channel quantization."""
    multiplier, shift = output_multipliers(0.5, np.array([0.5, 0.25], np.float32), 1.0)
    acc = np.array([[100, 100], [-7, -7]])
    assert requantize(acc, multiplier=multiplier, shift=shift).tolist() == [[25, 13], [-2, -1]]
