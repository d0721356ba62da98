"""Depthwise convolution on a plane of vertical pairs.

A channel is copied to a padded plane whose words hold two rows of one column as
int16, so that one SMLAD multiplies two rows of the window. Two output rows are
computed at once: they read the same words, one of them with weights moved down by a
row. For 3x3, four outputs take 24 multiplications and 4 LDRD.

    void f(const int8_t *input, int8_t *output, void *plane, const uint32_t *stream)

In place for every stride: the channel is copied before its outputs are written, and
output (p, c) lies at an address that belongs to channel c.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from triptych.engine.thumb.assembly import MAX_OFFSET, Assembly, pair
from triptych.engine.thumb.convolution import Window
from triptych.engine.thumb.finish import Channels, Clamp, emit_clamp, emit_scale

INPUT, OUTPUT, PLANE, STREAM, CHANNELS, STRIPS, BLOCKS = range(0, 28, 4)  # frame
BIAS, MULTIPLIER, OFFSET, SHIFT, TARGET, STRIP, ROWS = range(28, 56, 4)
FRAME = 60
RESIDENT = ["r4", "r5", "r6", "r7", "r8", "r9"]  # weights that stay in registers
COPY_COLUMNS = 24  # unrolled
UNROLL_COLUMNS = 8


@dataclass(frozen=True)
class Product:
    """One multiplication: output row of the strip, first tap of the weight word, halves where single."""

    row: int
    word: int
    weight_half: str = ""
    value_half: str = ""


@dataclass(frozen=True)
class Depthwise:
    """Identity of one generated function."""

    window: Window
    clamp: Clamp

    @property
    def rows(self) -> int:
        """Output rows of a strip."""
        return min(2, self.window.output[0])

    @cached_property
    def words(self) -> list[int]:
        """First taps of the vertical weight pairs of a kernel column."""
        needed = {product.word for products in self.products(self.rows) for product in products}
        return sorted(needed)

    def products(self, rows: int) -> list[list[Product]]:
        """The multiplications with each pair of plane rows, for a strip of `rows` output rows."""
        kernel, stride = self.window.kernel[0], self.window.stride[0]
        pairs = {i for r in range(self.rows) for i in range(kernel - 1) if (r * stride + i) % 2 == 0}
        height = ((rows - 1) * stride + kernel + 1) // 2
        return [[*self._of_pair(q, rows, pairs)] for q in range(height)]

    def _of_pair(self, q: int, rows: int, pairs: set[int]) -> Iterator[Product]:
        kernel, stride = self.window.kernel[0], self.window.stride[0]
        for row in range(rows):
            tap = 2 * q - row * stride
            if 0 <= tap < kernel - 1:
                yield Product(row, tap)
            elif tap == -1:
                yield Product(row, 0, "b", "t")
            elif tap == kernel - 1 and tap - 1 in pairs:
                yield Product(row, tap - 1, "t", "b")
            elif tap == kernel - 1:
                yield Product(row, tap, "b", "b")

    @property
    def resident(self) -> bool:
        return len(self.words) * self.window.kernel[1] <= len(RESIDENT)

    @property
    def columns(self) -> int:
        """Output columns of a block."""
        return 2 if self.resident else 4

    @property
    def phase(self) -> int:
        """Words of one phase of a plane row: columns lie apart by their remainder to the stride."""
        stride = self.window.stride[1]
        return -(-((self.window.output[1] - 1) * stride + self.window.kernel[1]) // stride)

    @property
    def line(self) -> int:
        """Bytes of a pair of plane rows."""
        return 4 * self.phase * self.window.stride[1]

    @property
    def plane(self) -> int:
        """Bytes of the plane."""
        rows = (self.window.output[0] - 1) * self.window.stride[0] + self.window.kernel[0]
        return -(-rows // 2) * self.line

    def place(self, column: int) -> int:
        """Offset of a plane column from its row."""
        stride = self.window.stride[1]
        return 4 * (column % stride * self.phase + column // stride)


def suits(window: Window) -> bool:
    """Whether the generated code covers this window."""
    reach = (window.output[1] - 1) * window.stride[1] + window.kernel[1]
    return (
        window.stride[0] in (1, 2)
        and window.stride[1] in (1, 2)
        and max(window.kernel) <= 7
        and window.channels <= MAX_OFFSET
        and 5 * 4 * (reach + 8) <= MAX_OFFSET
    )


def stream_of(channels: Channels, kernel: Depthwise, zero_point: int) -> list[int]:
    """Constants in the order in which the kernel reads them."""
    height, width = kernel.window.kernel
    out = [pair(zero_point, zero_point)]
    weights: list[list[list[int]]] = channels.weight.reshape(-1, height, width).tolist()
    for c, weight in enumerate(weights):
        constants = (channels.bias[c], channels.multiplier[c], channels.offset[c], channels.shift[c])
        out += [int(value) for value in constants]
        for column in range(width):
            for tap in kernel.words:
                below = weight[tap + 1][column] if tap + 1 < height else 0
                out.append(pair(2 * weight[tap][column], 2 * below))
    return out


def emit_depthwise(code: Assembly, name: str, kernel: Depthwise) -> None:
    """The function `name`; its stream begins with the input's zero point in two halfwords."""
    window = kernel.window
    code.function(name)
    code("push {r4-r11, lr}", f"sub sp, #{FRAME}", "add r2, r2, #3", "bic r2, r2, #3")
    code("ldr r4, [r3], #4", "strd r0, r1, [sp]", "strd r2, r3, [sp, #8]")
    _emit_fill(code, kernel.plane // 4)
    code.set("r0", window.channels)
    code(f"str r0, [sp, #{CHANNELS}]")
    start = code.label()
    _emit_copy(code, kernel)
    _emit_constants(code, kernel)
    whole, rest = divmod(window.output[0], kernel.rows)
    if whole > 1:
        code.set("r2", whole)
        code(f"str r2, [sp, #{STRIPS}]")
        strip = code.label()
        _emit_strip(code, kernel, kernel.rows)
        code(f"ldr r2, [sp, #{STRIPS}]", "subs r2, #1", f"str r2, [sp, #{STRIPS}]", f"bne.w {strip}")
    else:
        _emit_strip(code, kernel, kernel.rows)
    if rest:
        _emit_strip(code, kernel, rest)
    code(f"ldrd r0, r1, [sp, #{INPUT}]", "adds r0, #1", "adds r1, #1", f"strd r0, r1, [sp, #{INPUT}]")
    code(f"ldr r2, [sp, #{CHANNELS}]", "subs r2, #1", f"str r2, [sp, #{CHANNELS}]", f"bne.w {start}")
    code(f"add sp, #{FRAME}", "pop {r4-r11, pc}")
    code.end(name)


def _emit_fill(code: Assembly, words: int) -> None:
    """The plane with zero points from r4."""
    code(*[f"mov r{index}, r4" for index in range(5, 12)])
    if words >= 8:
        code.set("r3", words // 8)
        start = code.label()
        code("stm r2!, {r4-r11}", "subs r3, #1", f"bne {start}")
    code(*["str r4, [r2], #4"] * (words % 8))


def _emit_copy(code: Assembly, kernel: Depthwise) -> None:
    """One channel into the plane. The offset to the next row alternates within and between pairs."""
    window = kernel.window
    above, left = window.before
    reach = [(window.output[i] - 1) * window.stride[i] + window.kernel[i] - window.before[i] for i in (0, 1)]
    rows, columns = min(window.input[0], reach[0]), min(window.input[1], reach[1])
    first = 2 if above % 2 == 0 else kernel.line - 2
    code(f"ldr r0, [sp, #{INPUT}]", f"ldr r1, [sp, #{PLANE}]")
    code.add("r1", "r1", above // 2 * kernel.line + above % 2 * 2, "r2")
    code.set("r10", first)
    code.set("r11", rows)
    start = code.label()
    _emit_copy_row(code, kernel, columns, left)
    code.add("r0", "r0", window.input[1] * window.channels, "r2")
    code("add r1, r1, r10")
    code.set("r2", kernel.line)
    code("sub r10, r2, r10", "subs r11, #1", f"bne.w {start}")


def _emit_copy_row(code: Assembly, kernel: Depthwise, columns: int, left: int) -> None:
    channels, step = kernel.window.channels, 16
    if columns <= COPY_COLUMNS:
        _emit_copy_columns(code, kernel, range(columns), left, ("r0", "r1"))
        return
    whole, rest = divmod(columns, step)
    code("mov r2, r0", "mov r3, r1", f"mov lr, #{whole}")
    start = code.label()
    _emit_copy_columns(code, kernel, range(step), left, ("r2", "r3"))
    code.add("r2", "r2", step * channels, "r4")
    code.add("r3", "r3", step // kernel.window.stride[1] * 4, "r4")
    code("subs lr, #1", f"bne.w {start}")
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
        for register, column in zip(registers, batch, strict=False):
            offset = column * kernel.window.channels - origin
            if offset > MAX_OFFSET:
                step = offset - kernel.window.channels
                code(f"addw r12, {base}, #{step}")
                base, origin, offset = "r12", origin + step, kernel.window.channels
            code(f"ldrsb {register}, [{base}, #{offset}]")
        for register, column in zip(registers, batch, strict=False):
            code(f"strh {register}, [{target}, #{kernel.place(column + left)}]")


def _emit_constants(code: Assembly, kernel: Depthwise) -> None:
    """The channel's constants into the frame, resident weights into registers, pointers to the start."""
    code(f"ldr r3, [sp, #{STREAM}]", "ldm r3!, {r4-r7}")
    code(f"strd r4, r5, [sp, #{BIAS}]", f"strd r6, r7, [sp, #{OFFSET}]")
    count = len(kernel.words) * kernel.window.kernel[1]
    code(f"ldr r0, [sp, #{PLANE}]", f"ldr r1, [sp, #{OUTPUT}]")
    if kernel.resident:
        code(f"ldm r3!, {{{', '.join(RESIDENT[:count])}}}" if count > 1 else "ldr r4, [r3], #4")
        code(f"str r3, [sp, #{STREAM}]")
    else:
        code(f"str r3, [sp, #{ROWS}]", f"add r3, #{4 * count}", f"str r3, [sp, #{STREAM}]")
        code(f"str r1, [sp, #{TARGET}]")
    code(f"str r0, [sp, #{STRIP}]")


def _emit_strip(code: Assembly, kernel: Depthwise, rows: int) -> None:
    """`rows` output rows, from the plane rows at STRIP; r0 walks the plane."""
    window = kernel.window
    unroll = UNROLL_COLUMNS // kernel.columns * kernel.columns
    whole, rest = divmod(window.output[1], unroll)
    if whole == 1:
        whole, rest = 0, window.output[1]
    code(f"ldr r0, [sp, #{STRIP}]")
    if whole:
        code(f"mov r2, #{whole}", f"str r2, [sp, #{BLOCKS}]")
        start = code.label()
        _emit_columns(code, kernel, rows, unroll)
        code.add("r0", "r0", 4 * unroll, "r2")
        code(f"ldr r2, [sp, #{BLOCKS}]", "subs r2, #1", f"str r2, [sp, #{BLOCKS}]", f"bne.w {start}")
    _emit_columns(code, kernel, rows, rest)
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


def _emit_columns(code: Assembly, kernel: Depthwise, rows: int, columns: int) -> None:
    """Outputs of `columns` columns from r0 on; the output pointer advances past them."""
    channels = kernel.window.channels
    line = kernel.window.output[1] * channels
    target = "r1" if kernel.resident else "lr"
    written = 0
    for first in range(0, columns, kernel.columns):
        count = min(kernel.columns, columns - first)
        sums = _emit_block(code, kernel, rows, first, count)
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


def _emit_block(code: Assembly, kernel: Depthwise, rows: int, first: int, count: int) -> list[str]:
    """Sums of `rows` rows and `count` columns, column by column."""
    pool = ["r10", "r11", "r12", "lr"] if kernel.resident else [f"r{index}" for index in range(4, 12)]
    sums = pool[: rows * count]
    code(f"ldr {sums[-1]}, [sp, #{BIAS}]")
    if kernel.resident:
        _emit_resident(code, kernel, rows, first, sums)
    else:
        _emit_streamed(code, kernel, rows, first, sums)
    return sums


class _Sums:
    """Knows which sums have begun: the first product of each adds to the bias, in the last register."""

    def __init__(self, code: Assembly, sums: list[str]) -> None:
        self.code, self.sums, self.begun = code, sums, set[str]()

    def add(self, index: int, weight: str, value: str, product: Product) -> None:
        total = self.sums[index]
        source = total if total in self.begun else self.sums[-1]
        assert total != self.sums[-1] or total in self.begun or len(self.begun) == len(self.sums) - 1
        self.begun.add(total)
        halves = product.weight_half + product.value_half
        self.code(f"{f'smla{halves}' if halves else 'smlad'} {total}, {weight}, {value}, {source}")


def _emit_resident(code: Assembly, kernel: Depthwise, rows: int, first: int, sums: list[str]) -> None:
    width, stride = kernel.window.kernel[1], kernel.window.stride[1]
    count, total = len(sums) // rows, _Sums(code, sums)
    for q, products in enumerate(kernel.products(rows)):
        for phase in range(min(stride, width)):
            reach = count + (width - 1 - phase) // stride
            for start in range(0, reach, 2):
                registers = ["r2", "r3"][: reach - start]
                offset = q * kernel.line + 4 * (phase * kernel.phase + first + start)
                code.load_words(registers, "r0", offset)
                for index, register in enumerate(registers, start):
                    for c in range(count):
                        column = phase + (index - c) * stride
                        for product in products if 0 <= column < width else []:
                            word = column * len(kernel.words) + kernel.words.index(product.word)
                            total.add(c * rows + product.row, RESIDENT[word], register, product)


def _emit_streamed(code: Assembly, kernel: Depthwise, rows: int, first: int, sums: list[str]) -> None:
    width, stride = kernel.window.kernel[1], kernel.window.stride[1]
    count, total = len(sums) // rows, _Sums(code, sums)
    code(f"ldr r1, [sp, #{ROWS}]")
    for column in range(width):
        for q, products in enumerate(kernel.products(rows)):
            words = sorted({product.word for product in products})
            places = [column * len(kernel.words) + kernel.words.index(word) for word in words]
            names = dict(zip(words, ["r12", "lr"], strict=False))
            if len(places) == 2 and places[1] != places[0] + 1:
                for name, place in zip(names.values(), places, strict=True):
                    code.load_words([name], "r1", 4 * place)
            else:
                code.load_words([*names.values()], "r1", 4 * places[0])
            place = column % stride * kernel.phase + column // stride + first
            for start in range(0, count, 2):
                registers = ["r2", "r3"][: count - start]
                code.load_words(registers, "r0", q * kernel.line + 4 * (place + start))
                for c, register in enumerate(registers, start):
                    for product in products:
                        total.add(c * rows + product.row, names[product.word], register, product)


def _emit_finish(code: Assembly, kernel: Depthwise, sums: list[str]) -> None:
    clamp = kernel.clamp
    code(f"ldrd r2, r3, [sp, #{MULTIPLIER}]")
    if kernel.resident and clamp.signed:  # no register to spare for the correction
        code(*[f"smmulr {value}, {value}, r2" for value in sums])
        code(*[f"add {value}, {value}, {value}, asr #31" for value in sums])
        code(*[f"add {value}, {value}, r3" for value in sums])
    else:
        emit_scale(code, sums, ("r2", "r3"), clamp, "r12")
    code(f"ldr r2, [sp, #{SHIFT}]")
    emit_clamp(code, sums, "r2", clamp)
