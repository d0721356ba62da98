"""Clang from the package registry (ziglang): the same sources for the board and for this machine."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from triptych.config.tiny import BoardConfig
from triptych.errors import BoardError, ToolchainError

CPU = {"cortex_m4": "cortex_m4+vfp4d16sp", "cortex_m7": "cortex_m7+fp_armv8d16sp"}
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
COMMON = ["-std=c99", "-O3", "-g0", "-fno-builtin", "-fno-sanitize=all", *WARNINGS]
BARE = [
    *("-target", "thumb-freestanding-eabihf", "-ffreestanding", "-nostdlib", "-static"),
    *("-fno-unwind-tables", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,-e,reset"),
]
TIMEOUT = 600  # seconds; a hung compiler must not hang a pipeline


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


def compile_c(
    folder: Path, output: Path, flags: Sequence[str], *, names: Sequence[str] | None = None
) -> Path:
    """Run the compiler on `names` of `folder`, or on all its C and assembly files."""
    sources = (
        [folder / name for name in names] if names else sorted([*folder.rglob("*.c"), *folder.rglob("*.S")])
    )
    command = [sys.executable, "-m", "ziglang", "cc", *COMMON, *flags, f"-I{folder}"]
    command += [*map(str, sources), "-o", str(output)]
    try:
        result = subprocess.run(
            command, env=_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"the C compiler did not finish {folder} in {TIMEOUT} s") from error
    if result.returncode != 0 or not output.exists():
        text = (result.stderr or result.stdout).strip() or f"exit status {result.returncode}"
        raise ToolchainError(f"the C compiler refused {folder}:\n{text}")
    return output


def _environment() -> dict[str, str]:
    """Zig's caches in a folder of our own: an empty or read-only HOME works."""
    cache = Path(tempfile.gettempdir()) / f"triptych-zig-{os.getuid()}"
    try:
        cache.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ToolchainError(f"cannot create {cache}: {error.strerror}; set TMPDIR") from error
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}


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
