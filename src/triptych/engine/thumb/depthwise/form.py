"""One generated depthwise function: its identity, its plane, its products, its stream and its frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from triptych.engine.thumb.assembly import MAX_OFFSET, pair
from triptych.engine.thumb.convolution import Window
from triptych.engine.thumb.finish import Channels, Clamp
from triptych.graph.memory import band_rows

INPUT, OUTPUT, PLANE, STREAM, CHANNELS, STRIPS, BLOCKS = range(0, 28, 4)  # frame
BIAS, MULTIPLIER, OFFSET, SHIFT, TARGET, STRIP, PADDING = range(28, 56, 4)
WEIGHTS = 56
RESIDENT = ["r4", "r5", "r6", "r7", "r8", "r9"]  # weights that stay in registers


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
