"""Small networks whose best plan is known by hand."""

import numpy as np

from triptych.graph.memory import plan
from triptych.graph.ops import Add, Conv2D, DepthwiseConv2D, Graph, Op, Tensor


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
    """The paper's in-place depthwise: N bytes and a channel, not 2N (section 3.2)."""
    chosen = plan(network((1, 40, 40, 96), (depthwise("x", "y", 96, 3, 1), (1, 40, 40, 96))))
    assert chosen.tensors["x"] == chosen.tensors["y"]
    assert chosen.peak == 40 * 40 * 96 + 42 * 42


def test_odd_strided_depthwise_shrinks_its_tensor_in_place():
    """11 to 6 rows: reserving a quarter, as TinyEngine does, would be too little (8,712 for 10,368)."""
    steps = [(depthwise("x", "y", 288, 3, 2), (1, 6, 6, 288)), (conv("y", "z", 288, 60), (1, 6, 6, 60))]
    chosen = plan(network((1, 11, 11, 288), *steps))
    assert chosen.peak == 11 * 11 * 288 + 13 * 13
    assert chosen.tensors["z"] >= 6 * 6 * 288


def test_input_read_again_later_is_not_overwritten():
    """A residual connection keeps the block's input alive across the depthwise."""
    steps = [
        (depthwise("x", "y", 4, 3, 1), (1, 8, 8, 4)),
        (Add("z", "y", "x", "z"), (1, 8, 8, 4)),
    ]
    chosen = plan(network((1, 8, 8, 4), *steps))
    assert chosen.tensors["x"] != chosen.tensors["y"]
    assert chosen.peak == 2 * 256 + 100
    assert chosen.tensors["z"] in (chosen.tensors["x"], chosen.tensors["y"])


def test_inverted_bottleneck_costs_input_and_twice_expanded_only_once():
    """Expand, in-place depthwise, project, add: H^2 (2 cin + mid) is the residual block's peak."""
    steps = [
        (conv("x", "mid", 8, 48), (1, 10, 10, 48)),
        (depthwise("mid", "dw", 48, 5, 1), (1, 10, 10, 48)),
        (conv("dw", "out", 48, 8), (1, 10, 10, 8)),
        (Add("sum", "out", "x", "sum"), (1, 10, 10, 8)),
    ]
    chosen = plan(network((1, 10, 10, 8), *steps))
    assert chosen.peak == chosen.lower_bound == 100 * (8 + 48 + 8)


def test_weights_may_be_shapes_without_memory():
    """The search costs thousands of networks that have no weights yet."""
    steps = [(conv("x", "y", 1 << 20, 1 << 20), (1, 1, 1, 1 << 20))]
    assert plan(network((1, 1, 1, 1 << 20), *steps)).peak == 2 << 20
