"""The function: bands of the plane, a channel's constants, strips of output rows, columns, stores."""

from triptych.engine.thumb.assembly import MAX_OFFSET, Assembly
from triptych.engine.thumb.depthwise.form import (
    BIAS,
    BLOCKS,
    CHANNELS,
    INPUT,
    MULTIPLIER,
    OFFSET,
    OUTPUT,
    PADDING,
    PLANE,
    RESIDENT,
    SHIFT,
    STREAM,
    STRIP,
    STRIPS,
    TARGET,
    WEIGHTS,
    Band,
    Depthwise,
)
from triptych.engine.thumb.depthwise.plane import emit_copy, emit_fill, emit_keep, emit_padding
from triptych.engine.thumb.depthwise.products import Block, emit_block
from triptych.engine.thumb.finish import emit_clamp, emit_nearest, emit_scale

UNROLL_COLUMNS = 8


def emit_depthwise(code: Assembly, name: str, kernel: Depthwise) -> None:
    """The function `name`; its stream begins with what padding holds, in two halfwords."""
    window = kernel.window
    code.function(name)
    code("push {r4-r11, lr}", f"sub sp, #{kernel.frame}", "add r2, r2, #3", "bic r2, r2, #3")
    code("ldr r4, [r3], #4", "strd r0, r1, [sp]", "strd r2, r3, [sp, #8]")
    if len(kernel.bands) > 1:
        code(f"str r4, [sp, #{PADDING}]")
    emit_fill(code, kernel.plane // 4)
    with code.counted(window.channels, CHANNELS, "r2"):
        for band in kernel.bands:
            _emit_band(code, kernel, band)
        code(f"ldrd r0, r1, [sp, #{INPUT}]", "adds r0, #1", "adds r1, #1", f"strd r0, r1, [sp, #{INPUT}]")
    code(f"add sp, #{kernel.frame}", "pop {r4-r11, pc}")
    code.end(name)


def _emit_band(code: Assembly, kernel: Depthwise, band: Band) -> None:
    """The plane, then the strips that it serves."""
    if len(kernel.bands) > 1:
        emit_keep(code, kernel, band)
        emit_padding(code, kernel, 0 if band.start else band.shift, 0)
        end = max(band.kept, band.shift + kernel.window.input[0])
        emit_padding(code, kernel, band.rows, min(end, band.rows))
    emit_copy(code, kernel, band)
    _emit_constants(code, kernel, band)
    whole, rest = divmod(band.end - band.start, kernel.rows)
    if kernel.centred is not None:
        for strip in range(whole):
            _emit_strip(code, kernel, kernel.rows, strip)
    else:
        with code.counted(whole, STRIPS, "r2"):
            _emit_strip(code, kernel, kernel.rows, None)
    if rest:
        _emit_strip(code, kernel, rest, whole if kernel.centred is not None else None)


def _emit_constants(code: Assembly, kernel: Depthwise, band: Band) -> None:
    """The channel's constants into the frame, weights into registers or the frame, pointers to the start."""
    code(f"ldr r3, [sp, #{STREAM}]")
    if kernel.short:
        code("ldm r3!, {r4, r6}", "asr r5, r4, #8")
    else:
        code("ldm r3!, {r4-r6}")
    code.set("r7", kernel.clamp.offset)
    code("uxtb r4, r4", "lsl r7, r7, r4", f"strd r5, r6, [sp, #{BIAS}]", f"strd r7, r4, [sp, #{OFFSET}]")
    width, count = kernel.window.kernel[1], len(kernel.words)
    if kernel.resident:
        for column in range(width):
            names = RESIDENT[column * count : (column + 1) * count]
            _emit_weights(code, kernel, names, ["r10", "r11", "r12", "lr"])
    else:
        code(f"add r1, sp, #{WEIGHTS}")
        with code.loop(width, "r0"):
            names = ["r8", "r9", "r10", "r11", "r12", "lr", "r2"][:count]
            _emit_weights(code, kernel, names, ["r4", "r5", "r6", "r7"])
            code(*[f"str {name}, [r1], #4" for name in names])
    if band.end == kernel.window.output[0]:
        code(f"str r3, [sp, #{STREAM}]")
    code(f"ldr r0, [sp, #{PLANE}]", f"ldr r1, [sp, #{OUTPUT}]")
    code.add("r1", "r1", band.start * kernel.window.output[1] * kernel.window.channels, "r2")
    if not kernel.resident:
        code(f"str r1, [sp, #{TARGET}]")
    code(f"str r0, [sp, #{STRIP}]")


def _emit_weights(code: Assembly, kernel: Depthwise, names: list[str], spare: list[str]) -> None:
    """The vertical pairs of one kernel column, doubled, from its bytes at r3."""
    groups = -(-kernel.window.kernel[0] // 4)
    even, odd = spare[0::2][:groups], spare[1::2][:groups]  # taps 0 and 2, 1 and 3 of each word
    for e, o in zip(even, odd, strict=True):
        code(f"ldr {o}, [r3], #4", f"sxtb16 {e}, {o}", f"sxtb16 {o}, {o}, ror #8")
        code(f"sadd16 {e}, {e}, {e}", f"sadd16 {o}, {o}, {o}")
    for name, tap in zip(names, kernel.words, strict=True):
        e, o = even[tap // 4], odd[tap // 4]
        match tap % 4:
            case 0:
                code(f"pkhbt {name}, {e}, {o}, lsl #16")
            case 1:
                code(f"pkhbt {name}, {o}, {e}")
            case 2:
                code(f"pkhtb {name}, {o}, {e}, asr #16")
            case _:
                code(f"lsr {name}, {o}, #16")
                if tap // 4 + 1 < groups:
                    code(f"pkhbt {name}, {name}, {even[tap // 4 + 1]}, lsl #16")


def _emit_strip(code: Assembly, kernel: Depthwise, rows: int, strip: int | None) -> None:
    """`rows` output rows, from the plane rows at STRIP; r0 walks the plane."""
    window = kernel.window
    unroll = UNROLL_COLUMNS // kernel.columns * kernel.columns
    whole, rest = divmod(window.output[1], unroll)
    if whole == 1 or strip is not None:
        whole, rest = 0, window.output[1]
    code(f"ldr r0, [sp, #{STRIP}]")
    with code.counted(whole, BLOCKS, "r2"):
        if whole:
            _emit_columns(code, kernel, rows, unroll, None)
            code.add("r0", "r0", 4 * unroll, "r2")
    _emit_columns(code, kernel, rows, rest, strip)
    code(f"ldr r0, [sp, #{STRIP}]")
    code.add("r0", "r0", rows * window.stride[0] * kernel.line // 2, "r2")
    code(f"str r0, [sp, #{STRIP}]")
    skipped = (rows - 1) * window.output[1] * window.channels
    if skipped and kernel.resident:
        code.add("r1", "r1", skipped, "r2")
    elif skipped:
        code(f"ldr r1, [sp, #{TARGET}]")
        code.add("r1", "r1", skipped, "r2")
        code(f"str r1, [sp, #{TARGET}]")


def _emit_columns(code: Assembly, kernel: Depthwise, rows: int, columns: int, strip: int | None) -> None:
    """Outputs of `columns` columns from r0 on; the output pointer advances past them."""
    channels = kernel.window.channels
    line = kernel.window.output[1] * channels
    target = "r1" if kernel.resident else "lr"
    written = 0
    for first in range(0, columns, kernel.columns):
        count = min(kernel.columns, columns - first)
        sums = emit_block(code, Block(kernel, rows, first, count, strip))
        last = first + count == columns
        _emit_finish(code, kernel, sums)
        if not kernel.resident:
            code(f"ldr lr, [sp, #{TARGET}]")
        for row in range(rows):
            places = [
                (sums[c * rows + row], row * line + (first + c) * channels - written) for c in range(count)
            ]
            code.store_bytes(places, target, "r2", "r3")
        if last or (columns - written) * channels > MAX_OFFSET:
            code.add(target, target, (first + count) * channels - written, "r2")
            written = (first + count) * channels
            if not kernel.resident:
                code(f"str lr, [sp, #{TARGET}]")


def _emit_finish(code: Assembly, kernel: Depthwise, sums: list[str]) -> None:
    clamp = kernel.clamp
    if clamp.once:
        code(f"vldr s15, [sp, #{MULTIPLIER}]")
        emit_nearest(code, sums, clamp)
        return
    code(f"ldrd r2, r3, [sp, #{MULTIPLIER}]")
    if kernel.resident and clamp.signed:  # no register to spare for the correction
        code(*[f"smmulr {value}, {value}, r2" for value in sums])
        code(*[f"add {value}, {value}, {value}, asr #31" for value in sums])
        code(*[f"add {value}, {value}, r3" for value in sums])
    else:
        emit_scale(code, sums, ("r2", "r3"), clamp, "r12")
    code(f"ldr r2, [sp, #{SHIFT}]")
    emit_clamp(code, sums, "r2", clamp)
