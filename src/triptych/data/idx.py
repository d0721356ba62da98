"""The idx format of MNIST and its relatives, gzip-compressed."""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError

MAX_RANK = 4
MAX_BYTES = 1 << 30  # a bomb or a wrong file, not MNIST


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes. Raises DataError where it is not one."""
    try:
        with gzip.open(path) as handle:
            content = handle.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is not a complete gzip file ({error}); delete it to download it again"
        ) from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{path} unpacks to more than {MAX_BYTES} bytes; it is not an idx image file")
    return parse_idx(content, name=str(path))


def parse_idx(content: bytes, *, name: str) -> NDArray[np.uint8]:
    """Parse idx bytes: two zeros, type 8 (uint8), rank, sizes big-endian, data."""
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{name} starts with {content[:4].hex()}; an idx file of bytes starts with 000008")
    rank = content[3]
    if not 1 <= rank <= MAX_RANK:
        raise DataError(f"{name} has {rank} dimensions; an idx file of images or labels has 1 to {MAX_RANK}")
    header = 4 + 4 * rank
    if len(content) < header:
        raise DataError(f"{name} ends inside its header ({len(content)} of {header} bytes)")
    shape = struct.unpack(f">{rank}I", content[4:header])
    expected = prod(shape)
    if len(content) - header != expected or not expected:
        raise DataError(f"{name} holds {len(content) - header} bytes of data; shape {shape} needs {expected}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
