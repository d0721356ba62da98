"""Thumb-2 text, written one instruction a line."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

MAX_OFFSET = 4095  # of LDR and STR
MAX_PAIR_OFFSET = 1020  # of LDRD, in words

CONDITION = (
    "defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN)"
    " && !defined(TRIPTYCH_PORTABLE)"
)


class Assembly:
    """The functions of one `.S` file. Calling it appends instructions."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.executed = 0.0  # instructions of one call of every function so far
        self.instructions = 0
        self.floats = False  # whether some instruction needs a floating-point unit
        self._times = 1.0
        self._labels = 0

    def __call__(self, *instructions: str) -> None:
        """Append instructions."""
        self.instructions += len(instructions)
        self.executed += self._times * len(instructions)
        self.lines += [f"    {instruction}" for instruction in instructions]

    @contextmanager
    def repeat(self, times: float | int) -> Iterator[None]:
        """Instructions inside are executed `times` times, a mean where that depends on the place."""
        before, self._times = self._times, self._times * times
        yield
        self._times = before

    @contextmanager
    def loop(self, times: int, counter: str) -> Iterator[None]:
        """A loop over `counter`, which the body leaves alone; no loop where it runs at most once."""
        if times > 1:
            self.set(counter, times)
            start = self.label()
            with self.repeat(times):
                yield
                self(f"subs {counter}, #1", f"bne.w {start}")
        else:
            yield

    @contextmanager
    def counted(self, times: int, slot: int, temporary: str) -> Iterator[None]:
        """A loop whose counter is a word of the frame; no loop where it runs at most once."""
        if times > 1:
            self.set(temporary, times)
            self(f"str {temporary}, [sp, #{slot}]")
            start = self.label()
            with self.repeat(times):
                yield
                self(f"ldr {temporary}, [sp, #{slot}]", f"subs {temporary}, #1")
                self(f"str {temporary}, [sp, #{slot}]", f"bne.w {start}")
        else:
            yield

    def function(self, name: str) -> None:
        """Begin a global function."""
        self.lines += ["", "    .balign 4", f"    .global {name}", f"    .type {name}, %function"]
        self.lines += ["    .thumb_func", f"{name}:"]

    def end(self, name: str) -> None:
        """End the function `name`."""
        self.lines.append(f"    .size {name}, . - {name}")

    def label(self) -> str:
        """Place a new local label here."""
        return self.place(self.forward())

    def forward(self) -> str:
        """A new local label, to be placed later."""
        self._labels += 1
        return f".L{self._labels}"

    def place(self, label: str) -> str:
        """Place `label` here."""
        self.lines.append(f"{label}:")
        return label

    def set(self, register: str, value: int) -> None:
        """Any 32-bit constant in one or two instructions."""
        value &= 0xFFFFFFFF
        if value > 0xFFFF and (value ^ 0xFFFFFFFF) <= 0xFF:
            self(f"mvn {register}, #{value ^ 0xFFFFFFFF}")
            return
        self(f"movw {register}, #{value & 0xFFFF}")
        if value >> 16:
            self(f"movt {register}, #{value >> 16}")

    def add(self, target: str, source: str, value: int, temporary: str) -> None:
        """Target = source + value; `temporary` is overwritten where `value` needs a register."""
        if value == 0 and target == source:
            return
        if abs(value) <= MAX_OFFSET:
            self(f"{'addw' if value >= 0 else 'subw'} {target}, {source}, #{abs(value)}")
            return
        self.set(temporary, value)
        self(f"add {target}, {source}, {temporary}")

    def load_words(self, registers: Sequence[str], base: str, offset: int) -> None:
        """Consecutive words into one or two registers."""
        if len(registers) == 2 and offset <= MAX_PAIR_OFFSET:
            self(f"ldrd {registers[0]}, {registers[1]}, [{base}, #{offset}]")
            return
        for index, register in enumerate(registers):
            self(f"ldr {register}, [{base}, #{offset + 4 * index}]")

    def store_bytes(
        self, values: Iterable[tuple[str, int]], base: str, temporary: str, scratch: str | None = None
    ) -> None:
        """Store the low bytes of registers at offsets from `base`."""
        origin, at = base, 0
        for register, offset in values:
            if not 0 <= offset - at <= MAX_OFFSET:
                self.add(temporary, base, offset, scratch or temporary)
                origin, at = temporary, offset
            self(f"strb {register}, [{origin}, #{offset - at}]")

    def text(self) -> str:
        """The whole file, empty where the target has no DSP extension."""
        return "\n".join(
            [
                "/* Generated, for the shapes of one model. */",
                f"#if {CONDITION}{' && defined(__ARM_FP)' if self.floats else ''}",
                "    .syntax unified",
                "    .text",
                *self.lines,
                "#endif",
                "",
            ]
        )


def words(symbol: str, values: Iterable[int]) -> list[str]:
    """A constant array of 32-bit words in flash."""
    numbers = [f"0x{value & 0xFFFFFFFF:08x}" for value in values]
    lines = [f"    .word {', '.join(numbers[start : start + 8])}" for start in range(0, len(numbers), 8)]
    head = ["", f'    .section .rodata.{symbol}, "a"', "    .balign 8", f"    .global {symbol}"]
    return [
        *head,
        f"    .type {symbol}, %object",
        f"    .size {symbol}, {4 * len(numbers)}",
        f"{symbol}:",
        *lines,
    ]


def pair(low: int, high: int) -> int:
    """Two int16 in one word."""
    return (int(high) & 0xFFFF) << 16 | int(low) & 0xFFFF
