"""C into machine code by Clang from the package registry (ziglang): no compiler of the system's is asked."""

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from triptych.errors import ToolchainError

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
COMMON = ["-std=c99", "-O3", "-g0", "-fno-builtin", "-fno-sanitize=all", *WARNINGS]
TIMEOUT = 600  # seconds; a hung compiler must not hang a pipeline
FLOATING = ["-fno-math-errno", "-fno-trapping-math"]  # nobody reads errno or the exception flags


def load_kernels(folder: Path) -> ctypes.CDLL:
    """The C files of `folder`, compiled for this very processor and loaded."""
    with tempfile.TemporaryDirectory() as name:
        library = compile_c(folder, Path(name) / "kernels.so", ["-shared", "-fPIC", *FLOATING])
        return ctypes.CDLL(str(library))


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
