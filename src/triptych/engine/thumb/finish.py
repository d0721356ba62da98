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
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from triptych.engine.integer import INT8_MAX, INT8_MIN, clamp_range, quantization_of, requantization
from triptych.engine.thumb.assembly import Assembly
from triptych.graph.ops import Conv2D, DepthwiseConv2D, Graph
from triptych.quantization.requantize import high_multiply, requantize

MAX_SHIFT = 22  # zero_point * 2**e leaves room in int32


@dataclass(frozen=True)
class Clamp:
    """How accumulators end: part of a kernel's identity."""

    signed: bool  # whether values below real zero survive the clamp
    low: int
    high: int
    zero_point: int

    @property
    def offset(self) -> int:
        """What is added before the shift, itself shifted by e - 1."""
        return 2 * self.zero_point + 1


@dataclass(frozen=True)
class Channels:
    """Constants of the output channels; accumulators are doubled, so weights or activations must be."""

    weight: Int64[np.ndarray, "out taps"]  # zero where a channel's output is constant
    bias: Int64[np.ndarray, " out"]  # doubled, the input's zero point folded in; of a constant, 8 times that
    multiplier: Int64[np.ndarray, " out"]
    shift: Int64[np.ndarray, " out"]  # e - 1
    clamp: Clamp


def channels_of(graph: Graph, op: Conv2D | DepthwiseConv2D) -> Channels | None:
    """The constants of `op`, or None where some channel needs the general arithmetic.

    Channels whose output is the same for every input (dead ones, whose biases and
    shifts would not fit) become that constant: 8 * value * 2**30 rounds to 2 * value,
    shifted by one.
    """
    axis = 3 if isinstance(op, DepthwiseConv2D) else 0
    weight = np.moveaxis(op.weight.astype(np.int64), axis, 0).reshape(len(op.bias), -1)
    bias = op.bias.astype(np.int64) - quantization_of(graph, op.input).zero_point * weight.sum(axis=1)
    factors, output = requantization(graph, op), quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)

    def finish(acc: Int64[np.ndarray, " out"]) -> Int64[np.ndarray, " out"]:
        scaled = requantize(acc, multiplier=factors.multiplier, shift=factors.shift)
        return np.clip(scaled + output.zero_point, low, high)

    least = bias + np.minimum(weight * INT8_MIN, weight * INT8_MAX).sum(axis=1)
    most = bias + np.maximum(weight * INT8_MIN, weight * INT8_MAX).sum(axis=1)
    value = finish(least)
    constant = value == finish(most)
    shift = np.where(constant, 0, -factors.shift - 1)
    largest = np.where(constant, 0, np.maximum(abs(least), abs(most)))
    clamp = Clamp(low < output.zero_point, low, high, output.zero_point)
    fits = (shift >= 0) & (shift < MAX_SHIFT) & (largest < 2**30)
    fits &= (
        high_multiply(largest, factors.multiplier) + abs(clamp.offset << shift.clip(0, MAX_SHIFT)) < 2**31 - 2
    )
    if not fits.all():
        return None
    return Channels(
        weight=np.where(constant[:, None], 0, weight),
        bias=np.where(constant, 8 * (value - output.zero_point), 2 * bias),
        multiplier=np.where(constant, 1 << 30, factors.multiplier),
        shift=shift,
        clamp=clamp,
    )


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
