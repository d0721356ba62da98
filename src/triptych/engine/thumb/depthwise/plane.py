"""The padded plane of one channel: two rows of a column in each word."""

from triptych.engine.thumb.assembly import MAX_OFFSET, Assembly
from triptych.engine.thumb.depthwise.form import INPUT, PADDING, PLANE, Band, Depthwise

COPY_COLUMNS = 24  # unrolled


def emit_keep(code: Assembly, kernel: Depthwise, band: Band) -> None:
    """Move the rows that this band shares with the one before to the top."""
    words = -(-band.kept // 2) * kernel.line // 4
    if words == 0:
        return
    code(f"ldr r0, [sp, #{PLANE}]")
    code.add("r1", "r0", band.start * kernel.window.stride[0] // 2 * kernel.line, "r2")
    with code.loop(words // 2, "r3"):  # a line is a whole number of pairs of words where it matters
        if words >= 2:
            code("ldm r1!, {r4, r5}", "stm r0!, {r4, r5}")
    if words % 2:
        code("ldr r4, [r1]", "str r4, [r0]")


def emit_padding(code: Assembly, kernel: Depthwise, end: int, start: int) -> None:
    """Zero points into the plane rows from `start` to before `end`, and into what follows in a pair."""
    for row in range(start, end):
        code(f"ldr r0, [sp, #{PLANE}]", f"ldr r4, [sp, #{PADDING}]")
        code.add("r0", "r0", row // 2 * kernel.line + row % 2 * 2, "r2")
        with code.loop(kernel.line // 4, "r3"):
            code("strh r4, [r0], #4")


def emit_fill(code: Assembly, words: int) -> None:
    """The plane with r4."""
    code(*[f"mov r{index}, r4" for index in range(5, 12)])
    with code.loop(words // 8, "r3"):
        if words >= 8:
            code("stm r2!, {r4-r11}")
    code(*["str r4, [r2], #4"] * (words % 8))


def emit_copy(code: Assembly, kernel: Depthwise, band: Band) -> None:
    """Rows of one channel into the plane. The offset to the next row alternates within and between pairs."""
    window = kernel.window
    first, last = band.image
    if first == last:
        return
    reach = (window.output[1] - 1) * window.stride[1] + window.kernel[1] - window.before[1]
    row = band.shift + first
    code(f"ldr r0, [sp, #{INPUT}]", f"ldr r1, [sp, #{PLANE}]")
    code.add("r0", "r0", first * window.input[1] * window.channels, "r2")
    code.add("r1", "r1", row // 2 * kernel.line + row % 2 * 2, "r2")
    code.set("r10", 2 if row % 2 == 0 else kernel.line - 2)
    with code.loop(last - first, "r11"):
        _emit_copy_row(code, kernel, min(window.input[1], reach), window.before[1])
        code.add("r0", "r0", window.input[1] * window.channels, "r2")
        code("add r1, r1, r10")
        code.set("r2", kernel.line)
        code("sub r10, r2, r10")


def _emit_copy_row(code: Assembly, kernel: Depthwise, columns: int, left: int) -> None:
    channels, step = kernel.window.channels, 16
    if columns <= COPY_COLUMNS:
        _emit_copy_columns(code, kernel, range(columns), left, ("r0", "r1"))
        return
    whole, rest = divmod(columns, step)
    code("mov r2, r0", "mov r3, r1")
    with code.loop(whole, "lr"):
        _emit_copy_columns(code, kernel, range(step), left, ("r2", "r3"))
        code.add("r2", "r2", step * channels, "r4")
        code.add("r3", "r3", step // kernel.window.stride[1] * 4, "r4")
    _emit_copy_columns(code, kernel, range(rest), left, ("r2", "r3"))


def _emit_copy_columns(
    code: Assembly, kernel: Depthwise, columns: range, left: int, pointers: tuple[str, str]
) -> None:
    """Input columns from r0 or r2 to the plane at r1 or r3; r12 steps ahead where offsets grow too large."""
    source, target = pointers
    base, origin = source, 0
    registers = ["r4", "r5", "r6", "r7", "r8", "r9"]
    for start in range(0, len(columns), len(registers)):
        batch = columns[start : start + len(registers)]
        used = registers[: len(batch)]
        for register, column in zip(used, batch, strict=True):
            offset = column * kernel.window.channels - origin
            if offset > MAX_OFFSET:
                step = offset - kernel.window.channels
                code(f"addw r12, {base}, #{step}")
                base, origin, offset = "r12", origin + step, kernel.window.channels
            code(f"ldrsb {register}, [{base}, #{offset}]")
        if kernel.centred:
            code(*[f"sub {register}, {register}, #{kernel.centred}" for register in used])
        for register, column in zip(used, batch, strict=True):
            code(f"strh {register}, [{target}, #{kernel.place(column + left)}]")
