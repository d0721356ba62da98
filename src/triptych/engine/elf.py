"""What is in the linked firmware: its bytes, its symbols, its size in flash and SRAM."""

from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection


@dataclass(frozen=True)
class Image:
    """A linked program; sizes in bytes."""

    segments: tuple[tuple[int, bytes], ...]  # load address (in flash) and content
    symbols: dict[str, int]
    sizes: dict[str, int]  # of symbols
    flash: int  # code, constants and the initial values of .data
    static_sram: int  # .data and .bss; the stack comes on top
    functions: dict[str, tuple[int, int]]  # address and size
    marks: tuple[tuple[int, str], ...]  # address from which flash holds instructions ("$t") or data ("$d")


def read_elf(path: Path) -> Image:
    """Read a firmware made with our linker script."""
    with path.open("rb") as handle:
        elf = ELFFile(handle)
        segments = tuple(
            (int(segment["p_paddr"]), bytes(segment.data()))
            for segment in elf.iter_segments("PT_LOAD")
            if segment["p_filesz"]
        )
        section = elf.get_section_by_name(".symtab")
        assert isinstance(section, SymbolTableSection)
        table = list(section.iter_symbols())
    symbols = {symbol.name: int(symbol["st_value"]) for symbol in table}
    return Image(
        segments=segments,
        symbols=symbols,
        sizes={symbol.name: int(symbol["st_size"]) for symbol in table},
        flash=sum(len(content) for _, content in segments),
        static_sram=symbols["__bss_end"] - symbols["__data_start"],
        functions=dict(_function(symbol) for symbol in table if symbol["st_info"]["type"] == "STT_FUNC"),
        marks=tuple(sorted((int(s["st_value"]), s.name[:2]) for s in table if s.name[:2] in ("$t", "$d"))),
    )


def _function(symbol: Symbol) -> tuple[str, tuple[int, int]]:
    return symbol.name, (int(symbol["st_value"]) & ~1, int(symbol["st_size"]))
