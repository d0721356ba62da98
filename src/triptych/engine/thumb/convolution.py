"""Convolution: groups of pixels are gathered, widened and multiplied (`matrix.py`).

A 1x1 convolution reads its input directly, other windows are copied to a column
buffer first. A group is read before any of it is written, and groups run forwards or
backwards, so that the output may overlap the input as `graph/overlap.py` allows.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from triptych.engine.thumb.assembly import Assembly
from triptych.engine.thumb.matrix import (
    BUFFER,
    BUFFER_END,
    GROUPS,
    INPUT,
    Blocking,
    Shape,
    emit_group,
    emit_widen,
)

# frame: the window's corner in the input, the column buffer, zero points, the first pixel of a backward group
ROW, COLUMN, COLUMNS, ZERO_POINTS, PIXEL = range(24, 44, 4)
FRAME = 44
COPY_UNROLL = 16  # words


@dataclass(frozen=True)
class Window:
    """What one output pixel reads; `None` where it is the pixel itself."""

    input: tuple[int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]  # padding above and to the left
    channels: int

    @property
    def row(self) -> int:
        """Bytes of a kernel row."""
        return self.kernel[1] * self.channels

    @property
    def padded(self) -> tuple[bool, bool]:
        """Whether some window leaves the image above or below, left or right."""
        ends = [
            (out - 1) * stride - before + kernel > size
            for out, stride, before, kernel, size in zip(
                self.output, self.stride, self.before, self.kernel, self.input, strict=True
            )
        ]
        return self.before[0] > 0 or ends[0], self.before[1] > 0 or ends[1]

    @property
    def inside(self) -> tuple[float, float]:
        """Share of kernel rows inside the image, and of windows inside its columns."""
        height, width = self.input
        tops = [
            y * self.stride[0] - self.before[0] + i
            for y in range(self.output[0])
            for i in range(self.kernel[0])
        ]
        lefts = [x * self.stride[1] - self.before[1] for x in range(self.output[1])]
        whole = sum(0 <= left <= width - self.kernel[1] for left in lefts)
        return sum(0 <= top < height for top in tops) / len(tops), whole / len(lefts)

    @property
    def is_pixel(self) -> bool:
        """Whether the window is the pixel itself, in whole words."""
        plain = self.kernel == self.stride == (1, 1) and self.padded == (False, False)
        return plain and self.input == self.output and self.channels % 4 == 0


@dataclass(frozen=True)
class Convolution:
    """Identity of one generated function; layers that agree in it share the code."""

    window: Window
    shape: Shape
    blocking: Blocking
    backwards: bool

    @property
    def groups(self) -> list[tuple[int, int]]:
        """Pixels of a group and number of such groups, in order."""
        total = self.window.output[0] * self.window.output[1]
        whole, rest = divmod(total, self.blocking.pixels)
        parts = [(self.blocking.pixels, whole), (rest, 1)]
        return [part for part in (parts[::-1] if self.backwards else parts) if part[0] and part[1]]


def tap_order(window: Window) -> Int64[np.ndarray, " taps"]:
    """The tap at each place of a widened pixel, -1 where it is filled up to a multiple of four."""
    taps = window.kernel[0] * window.row
    return np.concatenate([np.arange(taps), np.full(-taps % 4, -1)])


def emit_convolution(code: Assembly, name: str, kernel: Convolution) -> None:
    """f(input, output, scratch, stream); the stream begins with the input's zero point in four bytes."""
    shape, window = kernel.shape, kernel.window
    code.function(name)
    code("push {r4-r11, lr}", f"sub sp, #{FRAME}", "add r2, r2, #3", "bic r2, r2, #3")
    if not window.is_pixel:
        if not kernel.backwards:
            code.set("r4", -window.before[0])
            code.set("r5", -window.before[1])
            code(f"strd r4, r5, [sp, #{ROW}]")
        code.add("r6", "r2", 2 * shape.taps * kernel.blocking.pixels, "r7")
        code(f"str r6, [sp, #{COLUMNS}]")
        code("ldr r4, [r3], #4", f"str r4, [sp, #{ZERO_POINTS}]")
    if kernel.backwards:
        last = window.output[0] * window.output[1] - kernel.groups[0][0]
        if window.is_pixel:
            code.add("r0", "r0", last * shape.taps, "r4")
        else:
            code.set("r4", last)
            code(f"str r4, [sp, #{PIXEL}]")
        code.add("r1", "r1", last * shape.channels, "r4")
    code("strd r0, r1, [sp]", "strd r2, r3, [sp, #8]")
    for index, (pixels, count) in enumerate(kernel.groups):
        after = kernel.groups[index + 1][0] if index + 1 < len(kernel.groups) else pixels
        _emit_groups(code, kernel, pixels, count, after)
    code(f"add sp, #{FRAME}", "pop {r4-r11, pc}")
    code.end(name)


def _emit_groups(code: Assembly, kernel: Convolution, pixels: int, count: int, after: int) -> None:
    shape, window = kernel.shape, kernel.window
    code(f"ldr r0, [sp, #{BUFFER}]")
    code.add("r0", "r0", 2 * shape.taps * pixels, "r1")
    code(f"str r0, [sp, #{BUFFER_END}]")
    # the last group of a backward run steps by the size of the groups that follow it
    step = -(pixels if count > 1 else after) if kernel.backwards else pixels
    with code.counted(count, GROUPS, "r0"):
        if window.is_pixel:
            code(f"ldr r2, [sp, #{INPUT}]")
        else:
            _emit_corner(code, kernel)
            _emit_gather(code, window, shape.taps, pixels)
            code(f"ldr r2, [sp, #{COLUMNS}]")
        emit_widen(code, shape.steps, kernel.blocking, pixels, shape.taps)
        emit_group(code, shape, kernel.blocking, pixels)
        _emit_next(code, kernel, step)


def _emit_next(code: Assembly, kernel: Convolution, step: int) -> None:
    """`step` pixels on; the output already advanced past one."""
    code(f"ldrd r0, r1, [sp, #{INPUT}]")
    if kernel.window.is_pixel:
        code.add("r0", "r0", step * kernel.shape.taps, "r2")
    elif kernel.backwards:
        code(f"ldr r3, [sp, #{PIXEL}]")
        code.add("r3", "r3", step, "r2")
        code(f"str r3, [sp, #{PIXEL}]")
    code.add("r1", "r1", (step - 1) * kernel.shape.channels, "r2")
    code(f"strd r0, r1, [sp, #{INPUT}]")


def _emit_corner(code: Assembly, kernel: Convolution) -> None:
    """Where the window of the group's first pixel begins; walking forwards, the last gather knows."""
    if not kernel.backwards:
        return
    window = kernel.window
    code(f"ldr r0, [sp, #{PIXEL}]")
    code.set("r1", window.output[1])
    code("udiv r2, r0, r1", "mls r3, r2, r1, r0")
    for register, stride, before in zip(("r2", "r3"), window.stride, window.before, strict=True):
        code(f"mov r1, #{stride}", f"mul {register}, {register}, r1")
        code.add(register, register, -before, "r1")
    code(f"strd r2, r3, [sp, #{ROW}]")


def _emit_gather(code: Assembly, window: Window, taps: int, pixels: int) -> None:
    """Copy the windows of the next `pixels` pixels to the column buffer.

    r0 column buffer, r1 r2 the window's corner, r3 pixels left, r4 input, r11 zero points.
    """
    code(f"ldr r4, [sp, #{INPUT}]", f"ldrd r1, r2, [sp, #{ROW}]", f"ldr r0, [sp, #{COLUMNS}]")
    if any(window.padded):
        code(f"ldr r11, [sp, #{ZERO_POINTS}]")
    border, next_pixel = code.forward(), code.forward()
    rows, columns = window.inside
    with code.loop(pixels, "r3"):
        _emit_origin(code, window, border)
        with code.repeat(columns):
            _emit_rows(code, window, rows)
        code.place(next_pixel)
        code.add("r0", "r0", taps - window.kernel[0] * window.row, "r5")
        _emit_advance(code, window)
    code(f"strd r1, r2, [sp, #{ROW}]")
    if window.padded[1]:
        done = code.forward()
        code(f"b.w {done}")
        code.place(border)
        with code.repeat(pixels * (1 - columns)):
            _emit_border(code, window)
            code(f"b.w {next_pixel}")
        code.place(done)


def _emit_origin(code: Assembly, window: Window, border: str) -> None:
    """r5 = address of the window's corner; on to `border` where its columns leave the image."""
    code.set("r6", window.input[1])
    code("mla r5, r1, r6, r2")
    code.set("r6", window.channels)
    code("mla r5, r5, r6, r4")
    if window.padded[1] and window.input[1] >= window.kernel[1]:
        code.set("r6", window.input[1] - window.kernel[1])
        code("cmp r2, r6", f"bhi.w {border}")
    elif window.padded[1]:
        code(f"b.w {border}")


def _emit_advance(code: Assembly, window: Window) -> None:
    """The corner of the next output pixel."""
    end = window.output[1] * window.stride[1] - window.before[1]
    code.add("r2", "r2", window.stride[1], "r5")
    code.set("r5", end)
    same_row = code.forward()
    code("cmp r2, r5", f"bne {same_row}")
    code.set("r2", -window.before[1])
    code.add("r1", "r1", window.stride[0], "r5")
    code.place(same_row)


def _emit_rows(code: Assembly, window: Window, inside: float) -> None:
    """A window inside the image's columns: whole kernel rows, of which a share is `inside`."""
    code("mov r7, r1")
    outside, next_row = code.forward(), code.forward()
    with code.loop(window.kernel[0], "r8"):
        if window.padded[0]:
            code.set("r6", window.input[0])
            code("cmp r7, r6", f"bhs.w {outside}")
        with code.repeat(inside):
            _emit_copy(code, window.row)
        if window.padded[0]:
            code(f"b.w {next_row}")
            code.place(outside)
            with code.repeat(1 - inside):
                _emit_fill(code, window.row)
            code.place(next_row)
        code.add("r5", "r5", window.input[1] * window.channels, "r6")
        code("add r7, r7, #1")


def _emit_border(code: Assembly, window: Window) -> None:
    """A window that leaves the image to the left or right: tap by tap."""
    outside, next_tap = code.forward(), code.forward()
    code("mov r7, r1")
    with code.loop(window.kernel[0], "r8"):
        code("mov r10, r2")
        with code.loop(window.kernel[1], "r12"):
            for index, size in (("r7", window.input[0]), ("r10", window.input[1])):
                code.set("r6", size)
                code(f"cmp {index}, r6", f"bhs.w {outside}")
            _emit_copy(code, window.channels)
            code(f"b.w {next_tap}")
            code.place(outside)
            with code.repeat(0):  # instead of the copy, which is counted
                _emit_fill(code, window.channels)
            code.place(next_tap)
            code.add("r5", "r5", window.channels, "r6")
            code("add r10, r10, #1")
        code.add("r5", "r5", (window.input[1] - window.kernel[1]) * window.channels, "r6")
        code("add r7, r7, #1")


def _emit_copy(code: Assembly, size: int) -> None:
    """`size` bytes from r5, which stays, to r0, which advances."""
    whole, rest = divmod(size // 4, COPY_UNROLL)
    if whole > 1:
        code("mov lr, r5")
        with code.loop(whole, "r9"):
            code(*["ldr r6, [lr], #4", "str r6, [r0], #4"] * COPY_UNROLL)
        base, size = "lr", size - 4 * COPY_UNROLL * whole
    else:
        base, rest = "r5", size // 4
    for index in range(rest):
        code(f"ldr r6, [{base}, #{4 * index}]", "str r6, [r0], #4")
    for index in range(size // 4 * 4, size):
        code(f"ldrb r6, [{base}, #{index}]", "strb r6, [r0], #1")


def _emit_fill(code: Assembly, size: int) -> None:
    """`size` zero points to r0, which advances."""
    if size // 4 > COPY_UNROLL:
        with code.loop(size // 4, "r9"):
            code("str r11, [r0], #4")
    else:
        code(*["str r11, [r0], #4"] * (size // 4))
    code(*["strb r11, [r0], #1"] * (size % 4))
