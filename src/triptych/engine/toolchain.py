"""Clang from the package registry (ziglang): the same sources for the board and for this machine."""

import re
from collections.abc import Sequence
from pathlib import Path

from triptych.config.tiny import BoardConfig
from triptych.errors import BoardError, ToolchainError
from triptych.native import compile_c

CPU = {"cortex_m4": "cortex_m4+vfp4d16sp", "cortex_m7": "cortex_m7+fp_armv8d16sp"}
BARE = [
    *("-target", "thumb-freestanding-eabihf", "-ffreestanding", "-nostdlib", "-static"),
    *("-fno-unwind-tables", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,-e,reset"),
]


def build_firmware(folder: Path, elf: Path, board: BoardConfig, *, linker_script: Path | None = None) -> Path:
    """Compile and link every C file of `folder` for the board, by its own linker script or another.

    Raises BoardError with both numbers where flash or SRAM is too small, and
    ToolchainError with the compiler's text otherwise.
    """
    script = linker_script or folder / "linker.ld"
    try:
        compile_c(folder, elf, [*BARE, f"-mcpu={CPU[board.cpu]}", "-T", str(script)])
    except ToolchainError as error:
        _raise_if_too_large(str(error), board)
        raise
    return elf


def build_native(folder: Path, library: Path, *, names: Sequence[str]) -> Path:
    """Compile C files of `folder` into a shared library for this machine."""
    return compile_c(folder, library, ["-shared", "-fPIC"], names=names)


def _raise_if_too_large(text: str, board: BoardConfig) -> None:
    overflow = re.findall(r"will not fit in region '(\w+)': overflowed by (\d+) bytes", text)
    for region, key in (("FLASH", "flash"), ("RAM", "sram")):
        beyond = max((int(size) for name, size in overflow if name == region), default=0)
        if beyond:
            limit: int = getattr(board, key)
            raise BoardError(
                f"the firmware needs {limit + beyond} bytes of {key}, but board.{key}={limit} "
                f"({board.name}); search with a smaller board.{key} or choose a larger board"
            )
