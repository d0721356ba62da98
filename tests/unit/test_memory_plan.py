"""Small networks whose best plan is known by hand."""

from dataclasses import replace
from importlib.resources import files

import numpy as np

from triptych.graph.memory import plan
from triptych.graph.ops import Add, Conv2D, DepthwiseConv2D, Graph, Op, Tensor
from triptych.graph.overlap import PIXELS


def shapes(shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.int8(0), shape)


def conv(source: str, output: str, cin: int, cout: int) -> Conv2D:
    return Conv2D(output, source, output, shapes((cout, 1, 1, cin)), shapes((cout,)))


def depthwise(source: str, output: str, channels: int, kernel: int, stride: int) -> DepthwiseConv2D:
    weight = shapes((1, kernel, kernel, channels))
    return DepthwiseConv2D(output, source, output, weight, shapes((channels,)), (stride, stride))


def network(shape: tuple[int, ...], *steps: tuple[Op, tuple[int, ...]]) -> Graph:
    tensors = {"x": Tensor("x", shape)} | {op.output: Tensor(op.output, shape) for op, shape in steps}
    return Graph("x", steps[-1][0].output, tensors, tuple(op for op, _ in steps))


def test_depthwise_costs_one_tensor_and_one_plane():
    """The paper's in-place depthwise: N bytes and a channel (half of it in int16), not 2N (section 3.2)."""
    chosen = plan(network((1, 40, 40, 96), (depthwise("x", "y", 96, 3, 1), (1, 40, 40, 96))))
    assert chosen.tensors["x"] == chosen.tensors["y"]
    assert chosen.peak == 40 * 40 * 96 + 2 * 22 * 42 + 3


def test_odd_strided_depthwise_shrinks_its_tensor_in_place():
    """11 to 6 rows: reserving a quarter, as TinyEngine does, would be too little (8,712 for 10,368)."""
    steps = [(depthwise("x", "y", 288, 3, 2), (1, 6, 6, 288)), (conv("y", "z", 288, 60), (1, 6, 6, 60))]
    chosen = plan(network((1, 11, 11, 288), *steps))
    assert chosen.tensors["z"] >= 6 * 6 * 288 - 32 * 60  # the last 4 of 36 pixels may begin where "y" ends
    assert chosen.peak == 11 * 11 * 288 + 2 * 14 * 14 + 3


def test_input_read_again_later_is_not_overwritten():
    """A residual connection keeps the block's input alive across the depthwise."""
    steps = [
        (depthwise("x", "y", 4, 3, 1), (1, 8, 8, 4)),
        (Add("z", "y", "x", "z"), (1, 8, 8, 4)),
    ]
    chosen = plan(network((1, 8, 8, 4), *steps))
    assert chosen.tensors["x"] != chosen.tensors["y"]
    assert chosen.peak == 2 * 256 + 2 * 100 + 3
    assert chosen.tensors["z"] in (chosen.tensors["x"], chosen.tensors["y"])


def test_inverted_bottleneck_costs_input_and_expanded_once_and_scratch():
    """Expand, in-place depthwise, overlapping project, add: H^2 (cin + mid) and four pixels in int16."""
    steps = [
        (conv("x", "mid", 8, 48), (1, 10, 10, 48)),
        (depthwise("mid", "dw", 48, 5, 1), (1, 10, 10, 48)),
        (conv("dw", "out", 48, 8), (1, 10, 10, 8)),
        (Add("sum", "out", "x", "sum"), (1, 10, 10, 8)),
    ]
    chosen = plan(network((1, 10, 10, 8), *steps))
    assert chosen.peak == chosen.lower_bound == 100 * (8 + 48) + 4 * 8 + 4 * 2 * 48 + 3


def test_weights_may_be_shapes_without_memory():
    """The search costs thousands of networks that have no weights yet."""
    steps = [(conv("x", "y", 1 << 20, 1 << 20), (1, 1, 1, 1 << 20))]
    assert plan(network((1, 1, 1, 1 << 20), *steps)).peak == 2 << 20


def test_expansion_and_projection_cost_the_wider_tensor_and_four_narrow_pixels():
    """MCUNet's vww1 needs 76,832 bytes and scratch here, not 89,600: the largest step of the network."""
    grow = plan(network((1, 40, 40, 8), (conv("x", "y", 8, 48), (1, 40, 40, 48))))
    shrink = plan(network((1, 40, 40, 48), (conv("x", "y", 48, 8), (1, 40, 40, 8))))
    assert grow.peak == grow.lower_bound == 1600 * 48 + 4 * 8 + 4 * 2 * 8 + 3
    assert shrink.peak == shrink.lower_bound == 1600 * 48 + 4 * 8 + 4 * 2 * 48 + 3


def test_residual_block_does_not_overwrite_the_input_that_it_adds():
    """The expansion would gain 6,400 bytes by running into its input, and lose the sum."""
    steps = [(conv("x", "y", 16, 48), (1, 20, 20, 48)), (conv("y", "z", 48, 16), (1, 20, 20, 16))]
    chosen = plan(network((1, 20, 20, 16), *steps, (Add("s", "z", "x", "s"), (1, 20, 20, 16))))
    assert chosen.peak == chosen.lower_bound == 400 * (16 + 48) + 4 * 16 + 4 * 2 * 48 + 3


def test_output_that_is_read_by_the_last_operator_survives_it():
    """An operator after the network's output must not overwrite it."""
    steps = [(conv("x", "y", 4, 4), (1, 8, 8, 4)), (depthwise("y", "z", 4, 3, 1), (1, 8, 8, 4))]
    chosen = plan(replace(network((1, 8, 8, 4), *steps), output="y"))
    assert abs(chosen.tensors["z"] - chosen.tensors["y"]) >= 256


def test_kernels_and_planner_agree_on_how_many_pixels_are_read_at_once():
    """The distances hold for kernels that take up to this many."""
    header = (files("triptych.engine") / "kernels/kernels.h").read_text()
    assert f"#define TRIPTYCH_OVERLAP_PIXELS {PIXELS} " in header
