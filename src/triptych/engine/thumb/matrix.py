"""The heart of every convolution: P pixels times C channels at once, all taps in registers.

Activations of P pixels are widened once to int16 pairs and then multiplied with all
output channels. SXTB16 yields the bytes (0, 2) and (1, 3) of a word; weights come in
the same order. With int16 weights, two taps of 4 pixels and 2 channels take 8 SMLAD
and 3 LDRD, or of 3 pixels 6 SMLAD, 1 LDRD and 1 LDM. With int8 weights, four taps
of 4 pixels and 2 channels take 16 SMLAD and 10 instructions to load and unpack.

Weights of 4 bits are never extended: one AND brings two of them to the top of two
halfwords, where they count 4096 times, sign included. A word holds four taps of both
channels; two taps of 3 pixels and 2 channels take 6 SMLAD, 1 LDR, 2 AND and 1 LDM. The
sums are shifted back as they are added to the bias, so they must lie within 20 bits.

    void f(const int8_t *input, int8_t *output, void *scratch, const uint32_t *stream)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from triptych.engine.thumb.assembly import Assembly, pair
from triptych.engine.thumb.finish import Channels, Clamp, emit_clamp, emit_nearest, emit_scale
from triptych.graph import int4

LAST = 1 << 31  # beside the shifts of the last channels: ASR reads the lowest byte alone
TOPS = 0xF000F000  # the highest four bits of two halfwords
MAX_INT4_SUM = 1 << 19  # of products without the bias
WIDEN_UNROLL = 4  # steps
Step = Callable[[Assembly, list[str], int, int, list[str] | None], None]

# frame of a convolution, from the stack pointer
INPUT, OUTPUT, BUFFER, STREAM, GROUPS, BUFFER_END = range(0, 24, 4)


@dataclass(frozen=True)
class Blocking:
    """How a layer is cut: what the scheduler chooses."""

    bits: int = 16  # of a weight in flash; with 16 constants are whole words: most flash, fewest instructions
    pixels: int = 4
    unroll: int = 12  # steps of four taps

    def by_halves(self, pixels: int) -> bool:
        """Whether a group of `pixels` lies as all even pairs, then all odd ones, or else pixel by pixel."""
        return not self.doubles or pixels == 4

    @property
    def doubles(self) -> bool:
        """Whether activations are doubled instead of weights: 2 * (value + 128)."""
        return self.bits == 8


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
    bias: list[int] = (channels.bias - (256 * weight.sum(axis=1) if blocking.doubles else 0)).tolist()
    multiplier: list[int] = channels.multiplier.tolist()
    shift: list[int] = channels.shift.tolist()
    rows: list[list[int]] = weight.tolist()
    out: list[int] = []
    for first in range(0, len(rows), 2):
        block = range(first, min(first + 2, len(rows)))
        last = LAST if first + 2 >= len(rows) // 2 * 2 else 0
        biases, weights = [bias[c] for c in block], _weights([rows[c] for c in block], blocking)
        out += weights + biases if blocking.bits == int4.BITS else biases + weights
        if whole_words(channels.clamp, blocking):
            for c in block:
                out += [multiplier[c], channels.clamp.offset << shift[c], shift[c]]
            out[-1] |= last
        else:
            out += [multiplier[c] for c in block]
            out.append(sum(shift[c] << 8 * index for index, c in enumerate(block)) | last)
    return out


def stream_bytes(shape: Shape, blocking: Blocking) -> int:
    """Bytes of the stream of a layer."""
    pairs = -(-shape.channels // 2)
    bytes_of = {16: 2 * shape.channels, 8: shape.channels, int4.BITS: pairs}
    constants = 16 * shape.channels if whole_words(shape.clamp, blocking) else 8 * shape.channels + 4 * pairs
    return shape.taps * bytes_of[blocking.bits] + constants


def whole_words(clamp: Clamp, blocking: Blocking) -> bool:
    """Whether multiplier, offset and shift of a channel are words; else the shifts of two share one."""
    return blocking.bits == 16 and not clamp.once


def _weights(rows: list[list[int]], blocking: Blocking) -> list[int]:
    starts = range(0, len(rows[0]), 4)
    if blocking.bits == 16:
        return [pair(2 * w[k + i], 2 * w[k + i + 2]) for k in starts for i in (0, 1) for w in rows]
    if blocking.bits == int4.BITS:
        return [_four_taps([w[k : k + 4] for w in rows]) for k in starts]
    return [int.from_bytes(bytes(v & 0xFF for v in w[k : k + 4]), "little") for k in starts for w in rows]


def _four_taps(rows: list[list[int]]) -> int:
    """Four taps of one or two channels in one word: pairs as of int16, each in its own four bits."""
    both = [*rows, [0] * 4][:2]
    pairs = [pair(w[i] & 0xF, w[i + 2] & 0xF) for i in (0, 1) for w in both]
    return sum(each << 4 * place for place, each in enumerate(pairs))


def emit_group(code: Assembly, shape: Shape, blocking: Blocking, pixels: int) -> None:
    """All output channels of `pixels` pixels that lie widened in the buffer; advances OUTPUT past one."""
    code(f"ldr r1, [sp, #{STREAM}]")
    if shape.channels >= 2:
        start = code.label()
        with code.repeat(shape.channels // 2):
            emit_channels(code, shape, blocking, pixels, 2)
            code("cmp r3, #0", f"bge.w {start}")
    if shape.channels % 2:
        emit_channels(code, shape, blocking, pixels, 1)


def emit_channels(code: Assembly, shape: Shape, blocking: Blocking, pixels: int, count: int) -> None:
    """One or two output channels of a group; r1 walks the stream. Leaves the shift word in r3."""
    sums = [f"r{4 + index}" for index in range(pixels * count)]
    code(f"ldr r0, [sp, #{BUFFER}]")
    bias = [] if blocking.bits == int4.BITS else sums[-count:]
    if bias:
        code(f"ldrd {bias[0]}, {bias[1]}, [r1], #8" if count == 2 else f"ldr {bias[0]}, [r1], #4")
    else:
        code(f"mov r11, #{TOPS:#x}")
    step = _step_of(blocking, pixels)
    unroll = blocking.unroll if pixels >= 3 else min(blocking.unroll, 2)
    _emit_steps(code, shape.steps, unroll, lambda source: step(code, sums, pixels, count, source), bias)
    if not bias:
        _shift_back(code, sums, count)
    (_finish_wide if whole_words(shape.clamp, blocking) else _finish_packed)(code, sums, count, shape.clamp)
    code(f"ldr lr, [sp, #{OUTPUT}]")
    places = [(sums[p * count + c], p * shape.channels + c) for p in range(pixels) for c in range(count)]
    code.store_bytes(places, "lr", "r12")
    code(f"adds lr, #{count}", f"str lr, [sp, #{OUTPUT}]")


def _step_of(blocking: Blocking, pixels: int) -> Step:
    """Four taps of a group, as the bits of its weights ask for."""
    if blocking.bits == 16:
        return _wide_step
    if blocking.bits == int4.BITS:
        return _int4_step
    return _packed_halves if blocking.by_halves(pixels) else _packed_step


def _shift_back(code: Assembly, sums: list[str], count: int) -> None:
    """Doubled accumulators with their bias, from products of weights 4096 times too large."""
    code("ldrd r2, r3, [r1], #8" if count == 2 else "ldr r2, [r1], #4")
    for channel, bias in enumerate(["r2", "r3"][:count]):
        code(*[f"add {value}, {bias}, {value}, asr #11" for value in sums[channel::count]])


def _finish_wide(code: Assembly, sums: list[str], count: int, clamp: Clamp) -> None:
    for channel in range(count):
        mine = sums[channel::count]
        code("ldm r1!, {r0, r2, r3}")
        emit_scale(code, mine, ("r0", "r2"), clamp, "r12")
        emit_clamp(code, mine, "r3", clamp)


def _finish_packed(code: Assembly, sums: list[str], count: int, clamp: Clamp) -> None:
    """Both shifts in one word, and the offset from the shift."""
    code("ldm r1!, {r0, r2, r3}" if count == 2 else "ldm r1!, {r0, r3}")
    for channel, multiplier in enumerate(["r0", "r2"][:count]):
        mine = sums[channel::count]
        if clamp.once:
            code(f"vmov s15, {multiplier}")
            emit_nearest(code, mine, clamp)
            continue
        if channel:
            code("asr r3, r3, #8")
        code.set("lr", clamp.offset)
        code("lsl r12, lr, r3")
        emit_scale(code, mine, (multiplier, "r12"), clamp, "lr")
        emit_clamp(code, mine, "r3", clamp)


def _emit_steps(
    code: Assembly, steps: int, unroll: int, emit: Callable[[list[str] | None], None], bias: list[str]
) -> None:
    """`steps` times four taps, the first from `bias` or from zero; in a loop where they exceed `unroll`."""
    peeled = steps if steps <= unroll else steps % unroll or unroll
    emit(bias)
    for _ in range(peeled - 1):
        emit(None)
    if steps > peeled:
        times = (steps - peeled) // unroll
        start = code.label()
        with code.repeat(times):
            for _ in range(unroll):
                emit(None)
            if times > 1:
                code(f"ldr r2, [sp, #{BUFFER_END}]", "cmp r0, r2", f"bne.w {start}")


def _wide_step(code: Assembly, sums: list[str], pixels: int, count: int, source: list[str] | None) -> None:
    weights = ["r12", "lr"][:count]
    for half in range(2):
        code("ldrd r12, lr, [r1], #8" if count == 2 else "ldr r12, [r1], #4")
        _multiply_all(code, sums, pixels, weights, source if half == 0 else None)


def _int4_step(code: Assembly, sums: list[str], pixels: int, count: int, source: list[str] | None) -> None:
    """Two pairs of taps out of one word, which is loaded twice: no register is left for it."""
    for half, advance in enumerate(["", ", #4"]):
        code(f"ldr lr, [r1]{advance}")
        weights, shifts = ["r12", "lr"][:count], (12 - 8 * half, 8 - 8 * half)
        for weight, shift in zip(weights, shifts, strict=False):
            code(f"and {weight}, r11, lr{f', lsl #{shift}' if shift else ''}")
        _multiply_all(code, sums, pixels, weights, source if half == 0 else None)


def _multiply_all(
    code: Assembly, sums: list[str], pixels: int, weights: list[str], source: list[str] | None
) -> None:
    """One pair of taps of all pixels, which r0 walks."""
    for first, values in _values(pixels):
        names = ", ".join(values)
        if len(values) == 3:
            code(f"ldm r0!, {{{names}}}")
        else:
            code(f"ldrd {names}, [r0], #8" if len(values) == 2 else f"ldr {names}, [r0], #4")
        for offset, value in enumerate(values):
            _multiply(code, sums, first + offset, [(w, value) for w in weights], source)


def _values(pixels: int) -> list[tuple[int, list[str]]]:
    """First pixel and registers of each load of activations."""
    if pixels == 3:
        return [(0, ["r2", "r3", "r10"])]
    return [(first, ["r2", "r3"][: pixels - first]) for first in range(0, pixels, 2)]


def _packed_halves(
    code: Assembly, sums: list[str], pixels: int, count: int, source: list[str] | None
) -> None:
    """Even taps, then odd ones: 4 pixels leave no register for both."""
    weights = ["r12", "lr"][:count]
    for half in range(2):
        raw, advance = (["r2", "r3"][:count], "") if half == 0 else (weights, f", #{4 * count}")
        code(f"{'ldrd' if count == 2 else 'ldr'} {', '.join(raw)}, [r1]{advance}")
        turn = ", ror #8" if half else ""
        code(*[f"sxtb16 {weight}, {byte}{turn}" for weight, byte in zip(weights, raw, strict=True)])
        _multiply_all(code, sums, pixels, weights, source if half == 0 else None)


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
        if source == []:
            code(f"smuad {total}, {weight}, {value}")
        else:
            code(f"smlad {total}, {weight}, {value}, {source[channel] if source else total}")


def emit_widen(code: Assembly, steps: int, blocking: Blocking, pixels: int, stride: int) -> None:
    """Widen `steps` words of `pixels` pixels from r2 on, `stride` bytes apart, into the buffer.

    Int16 weights are doubled by the generator, products with 4 bits after the sum. With int8
    weights the activations are doubled here: 2 * (value + 128), for which the bias makes up.
    """
    code(f"ldr r0, [sp, #{BUFFER}]")
    if blocking.doubles:
        code.set("r12", 0x01FE01FE)
    whole, rest = divmod(steps, WIDEN_UNROLL)
    with code.loop(whole, "r3"):
        _widen_steps(code, WIDEN_UNROLL if whole else 0, blocking, pixels, stride)
    _widen_steps(code, rest, blocking, pixels, stride)


def _widen_steps(code: Assembly, steps: int, blocking: Blocking, pixels: int, stride: int) -> None:
    if blocking.by_halves(pixels):
        even = [f"r{4 + p}" for p in range(pixels)]
        odd = [f"r{4 + pixels + p}" for p in range(pixels)]
    else:
        even = [f"r{4 + 2 * p}" for p in range(pixels)]
        odd = [f"r{5 + 2 * p}" for p in range(pixels)]
    for _ in range(steps):
        for p in reversed(range(pixels)):
            code(f"ldr {odd[p]}, [r2, #{p * stride}]" if p else f"ldr {odd[p]}, [r2], #4")
        for e, o in zip(even, odd, strict=True):
            if not blocking.doubles:
                code(f"sxtb16 {e}, {o}", f"sxtb16 {o}, {o}, ror #8")
            else:
                code(f"eor {o}, {o}, #0x80808080", f"and {e}, r12, {o}, lsl #1", f"and {o}, r12, {o}, lsr #7")
        code(f"stm r0!, {{r4-r{3 + 2 * pixels}}}")
