"""Operators that move values: what becomes part of a convolution, what stays, what is refused."""

from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from networks import inputs_of_size

from triptych.engine.oracle import run_litert
from triptych.engine.reference import run
from triptych.errors import DataError, UnsupportedError
from triptych.graph.ops import (
    Conv2D,
    DepthwiseConv2D,
    Graph,
    MaxPool2D,
    Op,
    Pad,
    Quantization,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
    Tensor,
)
from triptych.graph.tflite import read_tflite, write_tflite
from triptych.graph.validate import validate
from triptych.quantization.calibrate import calibrate, run_float
from triptych.quantization.lower import lower

GRID = Quantization(0.0625, -7)
BORDER = ((1, 2), (0, 1), (0, 0))


def padded(*readers: Op, amounts: Any = BORDER) -> Graph:
    """An image [1, 5, 6, 3], a PAD, and what reads it; the last operator's output is the network's."""
    size = [n + sum(pair) for n, pair in zip((5, 6, 3), amounts, strict=True)]
    shapes = {"image": (1, 5, 6, 3), "padded": (1, *size)}
    shapes |= {op.output: (1, size[0] - 1, size[1] - 1, 3) for op in readers}
    tensors = {name: Tensor(name, shape, GRID) for name, shape in shapes.items()}
    ops = (Pad("padded", "image", "padded", amounts), *readers)
    return Graph("image", ops[-1].output, tensors, ops)


def convolution(output: str, source: str = "padded") -> Conv2D:
    rng = np.random.default_rng(0)
    return Conv2D(
        output,
        source,
        output,
        rng.integers(-127, 128, (3, 2, 2, 3)).astype(np.int8),
        rng.integers(-99, 99, 3).astype(np.int32),
        padding="valid",
        weight_scale=np.full(3, 0.01, np.float32),
    )


def pool(output: str, source: str = "padded") -> MaxPool2D:
    return MaxPool2D(output, source, output, (2, 2), (1, 1))


@pytest.mark.parametrize(
    ("readers", "kinds"),
    [
        ((convolution("c"),), [Conv2D]),
        ((pool("p"),), [Pad, MaxPool2D]),
        ((convolution("c"), pool("p")), [Pad, Conv2D, MaxPool2D]),
        ((), [Pad]),
    ],
    ids=["convolution", "pool", "both", "output"],
)
def test_a_pad_disappears_only_where_valid_convolutions_alone_read_it(readers: tuple[Op, ...], kinds: Any):
    """Folded it costs no memory; folded into a pool, border pixels would not take part."""
    content = write_tflite(padded(*readers))
    graph = read_tflite(content)
    assert [type(op) for op in graph.ops] == kinds
    images = inputs_of_size(graph, 20)
    np.testing.assert_array_equal(run_litert(content, images), run(graph, images))


def test_channels_are_padded_and_images_are_not_multiplied():
    """Residual networks pad channels; a padded batch would be a second image."""
    graph = padded(amounts=((0, 0), (1, 0), (2, 3)))
    images = inputs_of_size(graph, 5)
    np.testing.assert_array_equal(run_litert(write_tflite(graph), images), run(graph, images))
    model: Any = schema.ModelT.InitFromPackedBuf(write_tflite(graph), 0)
    amounts = model.buffers[model.subgraphs[0].tensors[-1].buffer]
    amounts.data = np.frombuffer(np.array([1, 0, *[0] * 6], np.int32).tobytes(), np.uint8)
    with pytest.raises(UnsupportedError, match=r"operator 'padded' pads \[1, 5, 6, 3\] by \[1, 0, 0, 0,"):
        read_tflite(packed(model))


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_values_moved_to_another_grid_are_refused():
    """A resize that also rescales exists in no runtime; copied bytes would mean other reals."""
    op = ResizeNearest("r", "image", "r", (3, 3))
    tensors = {"image": Tensor("image", (1, 5, 6, 3), GRID), "r": Tensor("r", (1, 3, 3, 3), GRID)}
    graph = Graph("image", "r", tensors, (op,))
    assert read_tflite(write_tflite(graph)).ops == (op,)
    tensors["r"] = replace(tensors["r"], quantization=Quantization(0.0625, -8))
    with pytest.raises(UnsupportedError, match="operator 'r' moves values from"):
        read_tflite(write_tflite(replace(graph, tensors=tensors)))


def test_windows_and_sizes_of_nothing_are_data_errors():
    """A stride of zero once was a division by zero inside the reader."""
    graph = padded(replace(pool("p"), stride=(0, 1)))
    for broken in (graph, padded(replace(pool("p"), window=(0, 1)))):
        with pytest.raises(DataError, match=r"operator 'p' \(MaxPool2D\) has window"):
            read_tflite(write_tflite(broken))


def test_the_int8_network_follows_the_float_one_through_every_move():
    """Float semantics serve calibration: another order of axes would lose all accuracy silently."""
    rng = np.random.default_rng(1)
    shapes = {"x": (1, 4, 5, 3), "p": (1, 6, 5, 4), "r": (1, 3, 7, 4), "q": (1, 3, 7, 4), "d": (1, 3, 7, 4)}
    shapes |= {"s": (1, 7, 3, 4), "y": (1, 7, 3, 4)}
    ops = (
        Pad("p", "x", "p", ((1, 1), (0, 0), (0, 1))),
        ResizeNearest("r", "p", "r", (3, 7), half_pixel_centers=True),
        Requantize("q", "r", "q"),
        DepthwiseConv2D(
            "d", "q", "d", rng.normal(size=(1, 3, 3, 4)).astype(np.float32), np.ones(4, np.float32)
        ),
        Reshape("s", "d", "s", (1, 7, 3, 4)),
        Softmax("y", "s", "y", 0.5),
    )
    graph = Graph("x", "y", {name: Tensor(name, shape) for name, shape in shapes.items()}, ops)
    images = torch.from_numpy(rng.uniform(-1, 1, (30, 3, 4, 5)).astype(np.float32))
    small = lower(validate(graph), calibrate(graph, [images]))
    grid = small["x"].quantization
    assert grid
    pixels = np.rint(images.permute(0, 2, 3, 1).numpy() / grid.scale) + grid.zero_point
    codes = run(small, np.clip(pixels, -128, 127).astype(np.int8))
    reals = (codes.astype(np.float64) + 128) / 256
    expected = run_float(graph, images).permute(0, 2, 3, 1).numpy()
    assert np.abs(reals - expected).max() < 0.03
