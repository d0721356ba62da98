"""Files that are whole or absent: atomic writes, JSON, digests."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triptych.errors import DataError, OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file to write; at the end of the block it takes the place of `path`, after an error it is gone.

    Raises OutputError where the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
            temporary = Path(handle.name)
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; free the disk or choose a writable folder"
        ) from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds all of it or what it held before.

    Raises OutputError where the folder cannot be written or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401  # any JSON value
    """Write `value` as sorted, indented JSON, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:  # noqa: ANN401  # any JSON value
    """Read JSON; raises DataError that names the file where it is missing or broken."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run the stage that writes it (`dvc repro`)") from error
    except (ValueError, RecursionError) as error:  # no JSON, no text, endless digits or nesting
        raise DataError(f"{path} is not valid JSON ({error}); delete it and run its stage again") from error


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of one file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(paths: Iterable[Path], *, root: Path) -> str:
    """One SHA-256 over the names (relative to `root`) and contents of files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.relative_to(root).as_posix()}\0{sha256(path)}\n".encode())
    return total.hexdigest()


def digest_of(path: Path, *, root: Path) -> str:
    """`digest` of a file, or of every file in a folder; Python's caches do not count."""
    return digest(_below(path), root=root)


def _below(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    elif path.is_file():
        yield path
    else:
        raise DataError(f"{path} does not exist; run the stage that writes it (`dvc repro`)")
