"""Elementwise sum in 10 to 12 instructions an element.

TFLite raises both inputs by 20 bits and halves them relative to the larger scale, whose
factor is therefore exactly one half: its value is (x - zero_point) << 19. The other
one is rounded twice; its shift, like that of the result, is an operand of the next
instruction. XNNPACK's sum (`rounding="single"`) takes 7: it has one factor for each input.

    void f(const int8_t *larger, int8_t *output, int8_t *other, const uint32_t *stream)

The output may equal either input.
"""

from dataclasses import dataclass

from triptych.engine.integer import add_constants, clamp_range, quantization_of
from triptych.engine.single import sum_factors
from triptych.engine.thumb.assembly import Assembly
from triptych.engine.thumb.finish import MAX_SHIFT, Clamp, emit_clamp_bounds
from triptych.graph.ops import Add, Graph
from triptych.quantization.requantize import Rounding

UNROLL = 4
SUM_STREAM = 24  # bytes
HALF = (1 << 30, 0)  # multiplier and shift of one half


@dataclass(frozen=True)
class Sum:
    """Identity of one generated function; shifts to the right."""

    size: int
    other_shift: int
    output_shift: int
    clamp: Clamp


def sum_of(graph: Graph, op: Add, rounding: Rounding) -> tuple[Sum, list[int], tuple[str, str]] | None:
    """Kernel, stream, and the inputs in the order of the kernel; None where the C kernel has to do it."""
    return _once(graph, op) if rounding == "single" else _twice(graph, op)


def _once(graph: Graph, op: Add) -> tuple[Sum, list[int], tuple[str, str]]:
    factors, output = sum_factors(graph, op), quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)
    clamp = Clamp(signed=False, low=low, high=high, zero_point=output.zero_point, once=True)
    stream = [*factors.multiplier, factors.bias, output.zero_point, 0, 0]
    return Sum(graph[op.output].size, 0, factors.shift, clamp), stream, (op.input, op.other)


def _twice(graph: Graph, op: Add) -> tuple[Sum, list[int], tuple[str, str]] | None:
    constants = add_constants(graph, op)
    output = quantization_of(graph, op.output)
    factors = [*zip(constants.multiplier, constants.shift, strict=True)]
    names = [op.input, op.other]
    if factors[0] != HALF:
        names.reverse()
        factors.reverse()
    shift = -constants.output_shift
    if factors[0] != HALF or not 1 <= shift <= MAX_SHIFT:
        return None
    low, high = clamp_range(op.activation, output)
    larger, other = (quantization_of(graph, name).zero_point for name in names)
    multiplier, right = factors[1][0], -factors[1][1]
    half = 1 << right >> 1
    offset = (1 << (shift - 1)) + (output.zero_point << shift)
    stream = [larger << 19, other << 21, multiplier, half, constants.output_multiplier, offset]
    kernel = Sum(
        graph[op.output].size, right, shift, Clamp(low < output.zero_point, low, high, output.zero_point)
    )
    return kernel, stream, (names[0], names[1])


def emit_sum(code: Assembly, name: str, kernel: Sum) -> None:
    """The function `name`; r4 to r9 hold the stream."""
    code.function(name)
    code("push {r4-r11, lr}", "ldm r3, {r4-r9}")
    whole, rest = divmod(kernel.size, UNROLL)
    with code.loop(whole, "r3"):
        for _ in range(UNROLL if whole else 0):
            _emit_element(code, kernel)
    for _ in range(rest):
        _emit_element(code, kernel)
    code("pop {r4-r11, pc}")
    code.end(name)


def _emit_element(code: Assembly, kernel: Sum) -> None:
    if kernel.clamp.once:
        code("ldrsb r10, [r0], #1", "ldrsb r11, [r2], #1", "mla r10, r10, r4, r6", "mla r10, r11, r5, r10")
        code(f"add r10, r7, r10, asr #{kernel.output_shift}", "ssat r10, #8, r10")
    else:
        _emit_rounded_twice(code, kernel)
    emit_clamp_bounds(code, ["r10"], kernel.clamp)
    code("strb r10, [r1], #1")


def _emit_rounded_twice(code: Assembly, kernel: Sum) -> None:
    code("ldrsb r11, [r2], #1", "ldrsb r10, [r0], #1", "rsb r11, r5, r11, lsl #21")
    code("rsb r10, r4, r10, lsl #19")
    if kernel.other_shift:
        code("add r12, r7, r11, asr #31", "smmlar r11, r11, r6, r12")
        code(f"add r10, r10, r11, asr #{kernel.other_shift}")
    else:
        code("smmulr r11, r11, r6", "add r10, r10, r11")
    code("add r10, r10, r10")
    if kernel.clamp.signed:
        code("add r11, r9, r10, asr #31")
    code(f"smmlar r10, r10, r8, {'r11' if kernel.clamp.signed else 'r9'}")
    code(f"ssat r10, #8, r10, asr #{kernel.output_shift}")
