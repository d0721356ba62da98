"""Depthwise convolution on a plane of vertical pairs.

A channel is copied to a padded plane whose words hold two rows of one column as
int16, so that one SMLAD multiplies two rows of the window. Two output rows are
computed at once: they read the same words, one of them with weights moved down by a
row. For 3x3, four outputs take 24 multiplications and 4 LDRD.

On small maps every output's place is known when the code is generated. There the
plane holds values minus the zero point, so that padding is zero, and products with
padding are left out.

    void f(const int8_t *input, int8_t *output, void *plane, const uint32_t *stream)

In place for every stride: the channel is copied before its outputs are written, and
output (p, c) lies at an address that belongs to channel c.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from triptych.engine.thumb.assembly import MAX_OFFSET, Assembly, pair
from triptych.engine.thumb.convolution import Window
from triptych.engine.thumb.finish import Channels, Clamp, emit_clamp, emit_nearest, emit_scale
from triptych.graph.memory import band_rows

INPUT, OUTPUT, PLANE, STREAM, CHANNELS, STRIPS, BLOCKS = range(0, 28, 4)  # frame
BIAS, MULTIPLIER, OFFSET, SHIFT, TARGET, STRIP, PADDING = range(28, 56, 4)
WEIGHTS = 56
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
class Band:
    """Output rows from `start` to `end`, the plane rows they read, and what fills those."""

    start: int
    end: int
    rows: int
    kept: int  # first plane rows: the last ones that the band before read
    image: tuple[int, int]  # rows of the image that are copied
    shift: int  # plane row of the image's first row; may lie above the plane


@dataclass(frozen=True)
class Depthwise:
    """Identity of one generated function."""

    window: Window
    clamp: Clamp
    short: bool  # bias and shift share a word
    centred: int | None = None  # the input's zero point, where products with padding are left out

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

    def meets_rows(self, product: Product, strip: int, q: int) -> bool:
        """Whether `product` of pair `q` reads a row of the image; `strip` is a strip's number."""
        first = strip * self.rows * self.window.stride[0] + 2 * q - self.window.before[0]
        rows = {"": (first, first + 1), "b": (first,), "t": (first + 1,)}[product.value_half]
        return any(0 <= row < self.window.input[0] for row in rows)

    def meets_column(self, output: int, column: int) -> bool:
        """Whether tap `column` of output column `output` reads a column of the image."""
        return 0 <= output * self.window.stride[1] + column - self.window.before[1] < self.window.input[1]

    @property
    def resident(self) -> bool:
        """Whether all weights stay in registers."""
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
    def bands(self) -> list[Band]:
        """The plane is filled once, or for the upper and the lower half of the output."""
        window = self.window
        total, kernel, stride, above = window.output[0], window.kernel[0], window.stride[0], window.before[0]
        upper = band_rows(total, kernel, stride, self.line)
        out = []
        for start, end in [(0, upper), (upper, total)] if upper < total else [(0, total)]:
            origin, rows = start * stride, (end - start - 1) * stride + kernel
            kept = max(0, kernel - stride) if start else 0
            first = min(max(0, origin + kept - above), window.input[0])
            last = max(first, min(window.input[0], origin + rows - above))
            out.append(Band(start, end, rows, kept, (first, last), above - origin))
        return out

    @property
    def plane(self) -> int:
        """Bytes of the plane."""
        return -(-max(band.rows for band in self.bands) // 2) * self.line

    def place(self, column: int) -> int:
        """Offset of a plane column from its row."""
        stride = self.window.stride[1]
        return 4 * (column % stride * self.phase + column // stride)

    @property
    def frame(self) -> int:
        """Bytes of the stack frame; with 9 saved registers a multiple of 8."""
        weights = 0 if self.resident else 4 * len(self.words) * self.window.kernel[1]
        return WEIGHTS + weights // 8 * 8 + 12


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
    """Constants in the order in which the kernel reads them; kernel columns are filled up to whole words."""
    height, width = kernel.window.kernel
    fill = 0 if kernel.centred is not None else zero_point
    out = [pair(fill, fill)]
    weights: list[list[list[int]]] = channels.weight.reshape(-1, height, width).tolist()
    for c, weight in enumerate(weights):
        centre = 2 * zero_point * sum(map(sum, weight)) if kernel.centred is not None else 0
        bias, shift = int(channels.bias[c]) + centre, int(channels.shift[c])
        out += [bias << 8 | shift] if kernel.short else [shift, bias]
        out.append(int(channels.multiplier[c]))
        for column in range(width):
            taps = [weight[tap][column] & 0xFF for tap in range(height)] + [0] * (-height % 4)
            out += [
                int.from_bytes(bytes(taps[start : start + 4]), "little") for start in range(0, len(taps), 4)
            ]
    return out


def emit_depthwise(code: Assembly, name: str, kernel: Depthwise) -> None:
    """The function `name`; its stream begins with what padding holds, in two halfwords."""
    window = kernel.window
    code.function(name)
    code("push {r4-r11, lr}", f"sub sp, #{kernel.frame}", "add r2, r2, #3", "bic r2, r2, #3")
    code("ldr r4, [r3], #4", "strd r0, r1, [sp]", "strd r2, r3, [sp, #8]")
    if len(kernel.bands) > 1:
        code(f"str r4, [sp, #{PADDING}]")
    _emit_fill(code, kernel.plane // 4)
    with code.counted(window.channels, CHANNELS, "r2"):
        for band in kernel.bands:
            _emit_band(code, kernel, band)
        code(f"ldrd r0, r1, [sp, #{INPUT}]", "adds r0, #1", "adds r1, #1", f"strd r0, r1, [sp, #{INPUT}]")
    code(f"add sp, #{kernel.frame}", "pop {r4-r11, pc}")
    code.end(name)


def _emit_band(code: Assembly, kernel: Depthwise, band: Band) -> None:
    """The plane, then the strips that it serves."""
    if len(kernel.bands) > 1:
        _emit_keep(code, kernel, band)
        _emit_padding(code, kernel, 0 if band.start else band.shift, 0)
        end = max(band.kept, band.shift + kernel.window.input[0])
        _emit_padding(code, kernel, band.rows, min(end, band.rows))
    _emit_copy(code, kernel, band)
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


def _emit_keep(code: Assembly, kernel: Depthwise, band: Band) -> None:
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


def _emit_padding(code: Assembly, kernel: Depthwise, end: int, start: int) -> None:
    """Zero points into the plane rows from `start` to before `end`, and into what follows in a pair."""
    for row in range(start, end):
        code(f"ldr r0, [sp, #{PLANE}]", f"ldr r4, [sp, #{PADDING}]")
        code.add("r0", "r0", row // 2 * kernel.line + row % 2 * 2, "r2")
        with code.loop(kernel.line // 4, "r3"):
            code("strh r4, [r0], #4")


def _emit_fill(code: Assembly, words: int) -> None:
    """The plane with r4."""
    code(*[f"mov r{index}, r4" for index in range(5, 12)])
    with code.loop(words // 8, "r3"):
        if words >= 8:
            code("stm r2!, {r4-r11}")
    code(*["str r4, [r2], #4"] * (words % 8))


def _emit_copy(code: Assembly, kernel: Depthwise, band: Band) -> None:
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
        sums = _emit_block(code, Block(kernel, rows, first, count, strip))
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


@dataclass(frozen=True)
class Block:
    """Outputs that are summed at once."""

    kernel: Depthwise
    rows: int
    first: int  # column, from r0
    count: int  # columns
    strip: int | None  # number, where the place in the image is known

    def meets(self, product: Product, q: int, c: int, column: int) -> bool:
        """Whether a product may be other than zero."""
        if self.strip is None:
            return True
        kernel = self.kernel
        return kernel.meets_rows(product, self.strip, q) and kernel.meets_column(self.first + c, column)


class _Sums:
    """Knows which sums have begun: the first product of each adds to the bias, in the last register."""

    def __init__(self, code: Assembly, sums: list[str]) -> None:
        self.code, self.sums, self.begun = code, sums, set[str]()

    def add(self, index: int, weight: str, value: str, product: Product) -> None:
        total = self.sums[index]
        if total == self.sums[-1]:
            self.begin()
        source = total if total in self.begun else self.sums[-1]
        self.begun.add(total)
        halves = product.weight_half + product.value_half
        self.code(f"{f'smla{halves}' if halves else 'smlad'} {total}, {weight}, {value}, {source}")

    def begin(self) -> None:
        """Give the bias to all that have not begun."""
        missing = [total for total in self.sums[:-1] if total not in self.begun]
        self.code(*[f"mov {total}, {self.sums[-1]}" for total in missing])
        self.begun.update(self.sums)


def _emit_block(code: Assembly, block: Block) -> list[str]:
    """Sums of a block, column by column."""
    resident = block.kernel.resident
    pool = ["r10", "r11", "r12", "lr"] if resident else [f"r{index}" for index in range(4, 12)]
    sums = pool[: block.rows * block.count]
    code(f"ldr {sums[-1]}, [sp, #{BIAS}]")
    total = _Sums(code, sums)
    (_emit_resident if resident else _emit_streamed)(code, block, total)
    if sums[-1] not in total.begun:
        total.begin()
    return sums


def _emit_resident(code: Assembly, block: Block, total: _Sums) -> None:
    kernel = block.kernel
    width, stride = kernel.window.kernel[1], kernel.window.stride[1]
    for q, products in enumerate(kernel.products(block.rows)):
        for phase in range(min(stride, width)):
            work = [
                [
                    (c, phase + (index - c) * stride, product)
                    for c in range(block.count)
                    for product in products
                    if 0 <= phase + (index - c) * stride < width
                    and block.meets(product, q, c, phase + (index - c) * stride)
                ]
                for index in range(block.count + (width - 1 - phase) // stride)
            ]
            base = q * kernel.line + 4 * (phase * kernel.phase + block.first)
            for value, (c, column, product) in _loaded(code, work, "r0", base):
                word = column * len(kernel.words) + kernel.words.index(product.word)
                total.add(c * block.rows + product.row, RESIDENT[word], value, product)


def _emit_streamed(code: Assembly, block: Block, total: _Sums) -> None:
    kernel = block.kernel
    width, stride = kernel.window.kernel[1], kernel.window.stride[1]
    for column in range(width):
        for q, products in enumerate(kernel.products(block.rows)):
            work = [
                [(c, column, product) for product in products if block.meets(product, q, c, column)]
                for c in range(block.count)
            ]
            words = sorted({product.word for each in work for _, _, product in each})
            places = [column * len(kernel.words) + kernel.words.index(word) for word in words]
            names = dict(zip(words, ["r12", "lr"], strict=False))
            together = len(places) == 2 and places[1] == places[0] + 1
            for group in [words] if together else [[word] for word in words]:
                first = WEIGHTS + 4 * (column * len(kernel.words) + kernel.words.index(group[0]))
                code.load_words([names[word] for word in group], "sp", first)
            place = column % stride * kernel.phase + column // stride + block.first
            for value, (c, _, product) in _loaded(code, work, "r0", q * kernel.line + 4 * place):
                total.add(c * block.rows + product.row, names[product.word], value, product)


Work = tuple[int, int, Product]  # output column of the block, kernel column, product


def _loaded(code: Assembly, work: list[list[Work]], base: str, offset: int) -> Iterator[tuple[str, Work]]:
    """The products with each word from `base + offset` on, after its load; unused words are not loaded."""
    index = 0
    while index < len(work):
        if not work[index]:
            index += 1
            continue
        registers = ["r2", "r3"][: 2 if index + 1 < len(work) and work[index + 1] else 1]
        code.load_words(registers, base, offset + 4 * index)
        for position, register in enumerate(registers, index):
            for each in work[position]:
                yield register, each
        index += len(registers)


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
