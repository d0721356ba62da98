"""Sums of products of a block of outputs, on the plane's words."""

from collections.abc import Iterator
from dataclasses import dataclass

from triptych.engine.thumb.assembly import Assembly
from triptych.engine.thumb.depthwise.form import BIAS, RESIDENT, WEIGHTS, Depthwise, Product

Work = tuple[int, int, Product]  # output column of the block, kernel column, product


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


def emit_block(code: Assembly, block: Block) -> list[str]:
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
