"""Weights of four bits as the `.tflite` format packs them: two a byte, the first in the low half."""

import numpy as np
from jaxtyping import Int8, UInt8

BITS, LOWEST, HIGHEST = 4, -8, 7


def packed_size(count: int) -> int:
    """Bytes of `count` values."""
    return -(-count // 2)


def pack(values: Int8[np.ndarray, "..."]) -> UInt8[np.ndarray, " bytes"]:
    """The bytes of `values` in [-8, 7], in their order; the last half byte is zero where they are odd."""
    halves = np.zeros(2 * packed_size(values.size), np.uint8)
    halves[: values.size] = values.ravel().view(np.uint8) & 0xF
    return halves[0::2] | halves[1::2] << 4


def unpack(content: UInt8[np.ndarray, " bytes"], count: int) -> Int8[np.ndarray, " count"]:
    """The first `count` values of `content`, which holds at least as many."""
    halves = np.stack([content & 0xF, content >> 4], axis=1).ravel()[:count]
    return ((halves ^ 8).astype(np.int8) - 8).astype(np.int8)
