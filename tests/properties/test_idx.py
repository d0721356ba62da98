"""The idx reader against arrays and against noise."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from triptych.data.idx import parse_idx, read_idx
from triptych.errors import DataError


def encode(array: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@given(arrays(np.uint8, array_shapes(max_dims=4, max_side=5)))
def test_every_array_reads_back(array: np.ndarray):
    """The format is MNIST's: sizes big-endian, data row-major."""
    np.testing.assert_array_equal(parse_idx(encode(array), name="x"), array)


@given(arrays(np.uint8, array_shapes(max_dims=3, max_side=4)), st.data())
def test_damage_is_a_data_error_or_other_pixels(array: np.ndarray, data: st.DataObject):
    """No damaged file may crash, hang or allocate what its header invents."""
    content = bytearray(encode(array))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try:
        result = parse_idx(bytes(content[:cut]), name="damaged.gz")
    except DataError:
        return
    assert result.nbytes <= len(content)


TORN = gzip.compress(b"\0\0\x08\x01\0\0\0\x02xy", mtime=0)[:-9]  # no time: test names must not change


@pytest.mark.parametrize("content", [b"", b"not gzip", TORN], ids=["empty", "text", "torn"])
def test_file_that_is_not_gzip_names_itself(tmp_path: Path, content: bytes):
    """A truncated download must say which file to delete."""
    path = tmp_path / "train-images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-images\.gz"):
        read_idx(path)
