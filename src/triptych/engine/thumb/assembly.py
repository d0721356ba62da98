"""Thumb-2 text, written one instruction a line."""

from collections.abc import Iterable, Sequence

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
        self._labels = 0

    def __call__(self, *instructions: str) -> None:
        """Append instructions."""
        self.lines += [f"    {instruction}" for instruction in instructions]

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
                f"#if {CONDITION}",
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
