"""From doubled accumulators to int8 in four or five instructions, exact to TFLite's two roundings.

x = round(acc * multiplier / 2**31), ties towards +infinity, is SMMULR of the doubled
accumulator. The rounding shift by e, ties away from zero, is

    (x + half - (x < 0)) >> e,  half = 2**(e - 1),

and adding zero_point * 2**e to half, which makes (2 * zero_point + 1) << (e - 1), adds
the zero point to the result. SMMLAR adds that sum on the way. The last bit of the shift
is an operand of SSAT, so streams hold e - 1. The sign of acc serves as the sign of x: they differ only where
acc < 0 and x = 0, and half - 1 >> e is half >> e = 0 there for e >= 1. Where the
activation clamps at or above real zero no correction is needed: negative values end
at the clamp with it or without it.

With `rounding="single"` the accumulator goes through the floating-point unit: half the
scale makes up for its doubling, both exactly, and VCVTR rounds to nearest, ties to even.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from triptych.engine.integer import (
    INT8_MAX,
    INT8_MIN,
    Requantization,
    clamp_range,
    quantization_of,
    requantization,
)
from triptych.engine.reference import finish_sums
from triptych.engine.thumb.assembly import Assembly
from triptych.graph.ops import Conv2D, DepthwiseConv2D, Graph
from triptych.quantization.requantize import Rounding, high_multiply

MAX_SHIFT = 22  # zero_point * 2**e leaves room in int32


@dataclass(frozen=True)
class Clamp:
    """How accumulators end: part of a kernel's identity."""

    signed: bool  # whether values below real zero survive the clamp
    low: int
    high: int
    zero_point: int
    once: bool = False  # a product in float32, rounded to nearest

    @property
    def offset(self) -> int:
        """What is added before the shift, itself shifted by e - 1."""
        return 2 * self.zero_point + 1


@dataclass(frozen=True)
class Channels:
    """Constants of the output channels; accumulators are doubled, so weights or activations must be."""

    weight: Int64[np.ndarray, "out taps"]  # zero where a channel's output is constant
    bias: Int64[np.ndarray, " out"]  # doubled, the input's zero point folded in; of a constant, 8 times that
    multiplier: Int64[np.ndarray, " out"]  # or the bits of half a scale, as float32
    shift: Int64[np.ndarray, " out"]  # e - 1, or zero
    clamp: Clamp


@dataclass(frozen=True)
class _Sums:
    """What accumulators can be, without doubling; a `constant` channel always gives `value`."""

    weight: Int64[np.ndarray, "out taps"]
    bias: Int64[np.ndarray, " out"]
    largest: Int64[np.ndarray, " out"]  # magnitude, zero where constant
    constant: Bool[np.ndarray, " out"]
    value: Int64[np.ndarray, " out"]  # the zero point left out


def channels_of(graph: Graph, op: Conv2D | DepthwiseConv2D, rounding: Rounding) -> Channels | None:
    """The constants of `op`, or None where some channel needs the general arithmetic.

    Channels whose output is the same for every input (dead ones, whose biases and
    shifts would not fit) become that constant.
    """
    axis = 3 if isinstance(op, DepthwiseConv2D) else 0
    weight = np.moveaxis(op.weight.astype(np.int64), axis, 0).reshape(len(op.bias), -1)
    bias = op.bias.astype(np.int64) - quantization_of(graph, op.input).zero_point * weight.sum(axis=1)
    factors, output = requantization(graph, op), quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)
    least = bias + np.minimum(weight * INT8_MIN, weight * INT8_MAX).sum(axis=1)
    most = bias + np.maximum(weight * INT8_MIN, weight * INT8_MAX).sum(axis=1)
    value, same = (
        np.clip(finish_sums(op, acc, factors, rounding) + output.zero_point, low, high)
        for acc in (least, most)
    )
    constant = value == same
    largest = np.where(constant, 0, np.maximum(abs(least), abs(most)))
    sums = _Sums(np.where(constant[:, None], 0, weight), bias, largest, constant, value - output.zero_point)
    if rounding == "single":
        return _once(sums, factors, Clamp(False, low, high, output.zero_point, once=True))
    return _twice(sums, factors, Clamp(low < output.zero_point, low, high, output.zero_point))


def _twice(sums: _Sums, factors: Requantization, clamp: Clamp) -> Channels | None:
    """Of a constant 8 * value * 2**30 rounds to 2 * value, shifted by one."""
    shift = np.where(sums.constant, 0, -factors.shift - 1)
    offset = abs(clamp.offset << shift.clip(0, MAX_SHIFT))
    fits = (shift >= 0) & (shift < MAX_SHIFT) & (sums.largest < 2**30)
    fits &= high_multiply(sums.largest, factors.multiplier) + offset < 2**31 - 2
    if not fits.all():
        return None
    return Channels(
        weight=sums.weight,
        bias=np.where(sums.constant, 8 * sums.value, 2 * sums.bias),
        multiplier=np.where(sums.constant, 1 << 30, factors.multiplier),
        shift=shift,
        clamp=clamp,
    )


def _once(sums: _Sums, factors: Requantization, clamp: Clamp) -> Channels | None:
    half = np.where(sums.constant, np.float32(0.5), factors.scale / np.float32(2)).astype(np.float32)
    if not np.all(
        (sums.largest < 2**30) & (sums.largest * half < 2**29) & (half > np.finfo(np.float32).tiny)
    ):
        return None
    return Channels(
        weight=sums.weight,
        bias=2 * np.where(sums.constant, sums.value, sums.bias),
        multiplier=half.view(np.int32).astype(np.int64),
        shift=np.zeros(len(half), np.int64),
        clamp=clamp,
    )


def emit_nearest(code: Assembly, sums: list[str], clamp: Clamp) -> None:
    """Sum = clamp(nearest(sum * s15) + zero point), ties to even, four at a time."""
    code.floats = True
    for start in range(0, len(sums), 4):
        batch = sums[start : start + 4]
        singles = [f"s{index}" for index in range(len(batch))]
        moves = [(singles[i : i + 2], batch[i : i + 2]) for i in range(0, len(batch), 2)]
        code(*[f"vmov {', '.join([*floats, *values])}" for floats, values in moves])
        code(*[f"vcvt.f32.s32 {single}, {single}" for single in singles])
        code(*[f"vmul.f32 {single}, {single}, s15" for single in singles])
        code(*[f"vcvtr.s32.f32 {single}, {single}" for single in singles])
        code(*[f"vmov {', '.join([*values, *floats])}" for floats, values in moves])
    if clamp.zero_point:
        code(*[f"add {value}, {value}, #{clamp.zero_point}" for value in sums])
    code(*[f"ssat {value}, #8, {value}" for value in sums])
    emit_clamp_bounds(code, sums, clamp)


def emit_scale(code: Assembly, sums: list[str], factors: tuple[str, str], clamp: Clamp, spare: str) -> None:
    """Sum = round(sum * multiplier) + offset, before the shift; `factors` are multiplier and offset."""
    multiplier, offset = factors
    for value in sums:
        if clamp.signed:
            code(f"add {spare}, {offset}, {value}, asr #31")
        code(f"smmlar {value}, {value}, {multiplier}, {spare if clamp.signed else offset}")


def emit_clamp(code: Assembly, sums: list[str], shift: str, clamp: Clamp) -> None:
    """Sum = clamp(sum >> shift + 1); `shift` is a register of which the lowest byte counts."""
    for value in sums:
        code(f"asr {value}, {value}, {shift}")
    for value in sums:
        code(f"ssat {value}, #8, {value}, asr #1")
    emit_clamp_bounds(code, sums, clamp)


def emit_clamp_bounds(code: Assembly, sums: list[str], clamp: Clamp) -> None:
    """The bounds of an activation that are tighter than int8."""
    for value in sums:
        if clamp.low > INT8_MIN:
            code(f"cmp {value}, #{clamp.low}", "it lt", f"movlt {value}, #{clamp.low}")
        if clamp.high < INT8_MAX:
            code(f"cmp {value}, #{clamp.high}", "it gt", f"movgt {value}, #{clamp.high}")
