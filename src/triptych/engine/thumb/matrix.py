"""The heart of every convolution: P pixels times C channels at once, all taps in registers.

Activations of P pixels are widened once to int16 pairs and then multiplied with all
output channels. SXTB16 yields the bytes (0, 2) and (1, 3) of a word; weights come in
the same order. With int16 weights, two taps of 4 pixels and 2 channels take 8 SMLAD
and 3 LDRD, or of 3 pixels 6 SMLAD, 1 LDRD and 1 LDM. With int8 weights, four taps
of 3 pixels and 2 channels take 12 SMLAD and 8 instructions to load and unpack.

    void f(const int8_t *input, int8_t *output, void *scratch, const uint32_t *stream)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from triptych.engine.thumb.assembly import Assembly, pair
from triptych.engine.thumb.finish import Channels, Clamp, emit_clamp, emit_scale

LAST = 1 << 31  # beside the shift of the last channel: ASR reads the lowest byte alone
WIDEN_UNROLL = 4  # steps

# frame of a convolution, from the stack pointer
INPUT, OUTPUT, BUFFER, STREAM, GROUPS, BUFFER_END = range(0, 24, 4)


@dataclass(frozen=True)
class Blocking:
    """How a layer is cut: what the scheduler chooses."""

    wide: bool = True  # int16 weights: twice the flash, fewer instructions
    pixels: int = 4  # at most 3 with int8 weights
    unroll: int = 12  # steps of four taps


@dataclass(frozen=True)
class Shape:
    """One matrix product: taps of a pixel (a multiple of four), output channels, their clamp."""

    taps: int
    channels: int
    clamp: Clamp

    @property
    def steps(self) -> int:
        return self.taps // 4


def stream_of(channels: Channels, order: Int64[np.ndarray, " taps"], blocking: Blocking) -> list[int]:
    """Constants in the order in which the kernel reads them; `order` gives the tap at each place, or -1."""
    weight = np.where(order >= 0, channels.weight[:, order], 0)
    doubled = not blocking.wide
    bias = channels.bias - (256 * weight.sum(axis=1) if doubled else 0)
    rows: list[list[int]] = weight.tolist()
    total = len(rows)
    out: list[int] = []
    for first in range(0, total, 2):
        block = range(first, min(first + 2, total))
        last = LAST if first + 2 >= total // 2 * 2 else 0
        out += [int(bias[c]) for c in block]
        out += _weights([rows[c] for c in block], blocking)
        for c in block:
            shift = int(channels.shift[c]) | (last if c == block[-1] else 0)
            offset = channels.clamp.offset << int(channels.shift[c])
            out += [int(channels.multiplier[c]), offset, shift]
    return out


def _weights(rows: list[list[int]], blocking: Blocking) -> list[int]:
    starts = range(0, len(rows[0]), 4)
    if blocking.wide:
        return [pair(2 * w[k + i], 2 * w[k + i + 2]) for k in starts for i in (0, 1) for w in rows]
    return [int.from_bytes(bytes(v & 0xFF for v in w[k : k + 4]), "little") for k in starts for w in rows]


def emit_group(code: Assembly, shape: Shape, blocking: Blocking, pixels: int) -> None:
    """All output channels of `pixels` pixels that lie widened in the buffer; advances OUTPUT past one."""
    code(f"ldr r1, [sp, #{STREAM}]")
    if shape.channels >= 2:
        start = code.label()
        emit_channels(code, shape, blocking, pixels, 2)
        code("cmp r3, #0", f"bge.w {start}")
    if shape.channels % 2:
        emit_channels(code, shape, blocking, pixels, 1)


def emit_channels(code: Assembly, shape: Shape, blocking: Blocking, pixels: int, count: int) -> None:
    """One or two output channels of a group; r1 walks the stream. Leaves the shift word in r3."""
    sums = [f"r{4 + index}" for index in range(pixels * count)]
    code(f"ldr r0, [sp, #{BUFFER}]")
    bias = sums[-count:]
    code(f"ldrd {bias[0]}, {bias[1]}, [r1], #8" if count == 2 else f"ldr {bias[0]}, [r1], #4")
    step = _wide_step if blocking.wide else _packed_step
    unroll = blocking.unroll if pixels >= 3 else min(blocking.unroll, 2)
    _emit_steps(code, shape.steps, unroll, lambda source: step(code, sums, pixels, count, source), bias)
    for channel in range(count):
        mine = sums[channel::count]
        code("ldm r1!, {r0, r2, r3}")
        emit_scale(code, mine, ("r0", "r2"), shape.clamp, "r12")
        emit_clamp(code, mine, "r3", shape.clamp)
    code(f"ldr lr, [sp, #{OUTPUT}]")
    places = [(sums[p * count + c], p * shape.channels + c) for p in range(pixels) for c in range(count)]
    code.store_bytes(places, "lr", "r12")
    code(f"adds lr, #{count}", f"str lr, [sp, #{OUTPUT}]")


def _emit_steps(
    code: Assembly, steps: int, unroll: int, emit: Callable[[list[str] | None], None], bias: list[str]
) -> None:
    """`steps` times four taps, the first from the bias; in a loop where they are more than `unroll`."""
    peeled = steps if steps <= unroll else steps % unroll or unroll
    emit(bias)
    for _ in range(peeled - 1):
        emit(None)
    if steps > peeled:
        start = code.label()
        for _ in range(unroll):
            emit(None)
        if steps > peeled + unroll:
            code(f"ldr r2, [sp, #{BUFFER_END}]", "cmp r0, r2", f"bne.w {start}")


def _wide_step(code: Assembly, sums: list[str], pixels: int, count: int, source: list[str] | None) -> None:
    weights = ["r12", "lr"][:count]
    for half in range(2):
        code("ldrd r12, lr, [r1], #8" if count == 2 else "ldr r12, [r1], #4")
        begin = source if half == 0 else None
        for first, values in _values(pixels):
            names = ", ".join(values)
            if len(values) == 3:
                code(f"ldm r0!, {{{names}}}")
            else:
                code(f"ldrd {names}, [r0], #8" if len(values) == 2 else f"ldr {names}, [r0], #4")
            for offset, value in enumerate(values):
                _multiply(code, sums, first + offset, [(w, value) for w in weights], begin)


def _values(pixels: int) -> list[tuple[int, list[str]]]:
    """First pixel and registers of each load of activations."""
    if pixels == 3:
        return [(0, ["r2", "r3", "r10"])]
    return [(first, ["r2", "r3"][: pixels - first]) for first in range(0, pixels, 2)]


def _packed_step(code: Assembly, sums: list[str], pixels: int, count: int, source: list[str] | None) -> None:
    code("ldrd r2, r3, [r1], #8" if count == 2 else "ldr r2, [r1], #4")
    code("sxtb16 r12, r2", "sxtb16 r2, r2, ror #8")
    if count == 2:
        code("sxtb16 lr, r3", "sxtb16 r3, r3, ror #8")
    even, odd = ["r12", "lr"][:count], ["r2", "r3"][:count]
    for pixel in range(pixels):
        code("ldrd r10, r11, [r0], #8")
        _multiply(code, sums, pixel, [(w, "r10") for w in even], source)
        _multiply(code, sums, pixel, [(w, "r11") for w in odd], None)


def _multiply(
    code: Assembly, sums: list[str], pixel: int, pairs: list[tuple[str, str]], source: list[str] | None
) -> None:
    count = len(pairs)
    for channel, (weight, value) in enumerate(pairs):
        total = sums[pixel * count + channel]
        code(f"smlad {total}, {weight}, {value}, {source[channel] if source else total}")


def emit_widen(code: Assembly, steps: int, blocking: Blocking, pixels: int, stride: int) -> None:
    """Widen `steps` words of `pixels` pixels from r2 on, `stride` bytes apart, into the buffer.

    Int16 weights are doubled by the generator. With int8 weights the activations
    are doubled here: 2 * (value + 128), for which the bias makes up.
    """
    code(f"ldr r0, [sp, #{BUFFER}]")
    if not blocking.wide:
        code.set("r12", 0x01FE01FE)
    whole, rest = divmod(steps, WIDEN_UNROLL)
    if whole > 1:
        code(f"movw r3, #{whole}")
        start = code.label()
        _widen_steps(code, WIDEN_UNROLL, blocking, pixels, stride)
        code("subs r3, #1", f"bne.w {start}")
    else:
        rest = steps
    _widen_steps(code, rest, blocking, pixels, stride)


def _widen_steps(code: Assembly, steps: int, blocking: Blocking, pixels: int, stride: int) -> None:
    if blocking.wide:  # all even pairs, then all odd pairs
        even = [f"r{4 + p}" for p in range(pixels)]
        odd = [f"r{4 + pixels + p}" for p in range(pixels)]
    else:  # pixel by pixel
        even = [f"r{4 + 2 * p}" for p in range(pixels)]
        odd = [f"r{5 + 2 * p}" for p in range(pixels)]
    for _ in range(steps):
        for p in reversed(range(pixels)):
            code(f"ldr {odd[p]}, [r2, #{p * stride}]" if p else f"ldr {odd[p]}, [r2], #4")
        for e, o in zip(even, odd, strict=True):
            if blocking.wide:
                code(f"sxtb16 {e}, {o}", f"sxtb16 {o}, {o}, ror #8")
            else:
                code(f"eor {o}, {o}, #0x80808080", f"and {e}, r12, {o}, lsl #1", f"and {o}, r12, {o}, lsr #7")
        code(f"stm r0!, {{r4-r{3 + 2 * pixels}}}")
