"""`rounding="single"` against onnxruntime; where onnxruntime and XNNPACK differ, it is XNNPACK's."""

import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
from networks import inputs_of_size
from onnx import TensorProto, helper, numpy_helper

from triptych.engine.oracle import run_litert
from triptych.engine.reference import run, run_all
from triptych.graph.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Quantization,
    Requantize,
    Tensor,
    Weighted,
    paddings_of,
)
from triptych.graph.tflite import write_tflite

MICROSOFT = {"domain": "com.microsoft"}
SIZE, CHANNELS, OUTPUTS = 12, 16, 24


def session(
    node: Any, constants: dict[str, Any], output: tuple[int, ...], **inputs: np.ndarray
) -> np.ndarray:
    """What onnxruntime computes for a graph of `node`s, or one, from `inputs`."""
    nodes = node if isinstance(node, list) else [node]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(k, TensorProto.INT8, v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.INT8, output)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    made = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(made.run(None, inputs)[0])


def grid(graph: Graph, name: str, prefix: str) -> dict[str, Any]:
    quantization = graph[name].quantization
    assert quantization
    return {f"{prefix}s": np.float32(quantization.scale), f"{prefix}z": np.int8(quantization.zero_point)}


def tensor(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Tensor:
    scale = float(np.float32(rng.uniform(0.03, 0.08)))
    return Tensor(name, shape, Quantization(scale, int(rng.integers(-100, 100))))


def network(kind: type[Weighted], seed: int) -> Graph:
    """One operator with weights whose outputs fill the whole range."""
    rng = np.random.default_rng(seed)
    out = CHANNELS if kind is DepthwiseConv2D else OUTPUTS
    taps = {Conv2D: 9 * CHANNELS, DepthwiseConv2D: 9, FullyConnected: SIZE**2 * CHANNELS}[kind]
    weight = {
        Conv2D: (out, 3, 3, CHANNELS),
        DepthwiseConv2D: (1, 3, 3, CHANNELS),
        FullyConnected: (out, taps),
    }[kind]
    y = (1, out) if kind is FullyConnected else (1, SIZE, SIZE, out)
    scales = rng.uniform(0.3, 1, 1 if kind is FullyConnected else out) / (73 * math.sqrt(taps))
    op = kind(
        name="y",
        input="x",
        output="y",
        weight=rng.integers(-127, 128, weight).astype(np.int8),
        bias=rng.integers(-20_000, 20_000, out).astype(np.int32),
        weight_scale=scales.astype(np.float32),
    )
    tensors = {"x": tensor(rng, "x", (1, SIZE, SIZE, CHANNELS)), "y": tensor(rng, "y", y)}
    return Graph("x", "y", tensors, (op,))


def product(graph: Graph, x: np.ndarray) -> np.ndarray:
    """The operator of `network` by onnxruntime, NHWC like ours."""
    op = next(graph.weighted())
    constants = {**grid(graph, "x", "x"), **grid(graph, "y", "y"), "b": op.bias}
    assert op.weight_scale is not None
    if isinstance(op, FullyConnected):
        names = ["x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"]
        node = helper.make_node("QGemm", names, ["y"], transB=1, **MICROSOFT)
        weights = {"w": op.weight, "ws": op.weight_scale[0], "wz": np.int8(0)}
        return session(node, constants | weights, (len(x), OUTPUTS), x=x.reshape(len(x), -1))
    depthwise = isinstance(op, DepthwiseConv2D)
    rows, columns = paddings_of((SIZE, SIZE), (3, 3), (1, 1), "same")
    node = helper.make_node(
        "QLinearConv",
        ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"],
        ["y"],
        pads=[rows[0], columns[0], rows[1], columns[1]],
        group=CHANNELS if depthwise else 1,
    )
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    zeros = np.zeros(len(op.bias), np.int8)
    weights = {"w": np.ascontiguousarray(op.weight.transpose(order)), "ws": op.weight_scale, "wz": zeros}
    moved = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    shape = (len(x), len(op.bias), SIZE, SIZE)
    return session(node, constants | weights, shape, x=moved).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("kind", [Conv2D, DepthwiseConv2D, FullyConnected])
def test_products_equal_onnxruntime_and_xnnpack_on_100_inputs(kind: type[Weighted]):
    """Two rivals that share no code: float32, once, ties to even, is what they have in common."""
    for seed in range(3):
        graph = network(kind, seed)
        x = inputs_of_size(graph, 100, seed)
        ours = run(graph, x, rounding="single")
        np.testing.assert_array_equal(product(graph, x), ours)
        np.testing.assert_array_equal(run_litert(write_tflite(graph), x, kernels="xnnpack"), ours)


def test_maxima_equal_onnxruntime():
    """Nothing is rounded: a difference would be one of windows."""
    rng = np.random.default_rng(0)
    x, y = tensor(rng, "x", (1, 9, 9, 4)), tensor(rng, "y", (1, 4, 4, 4))
    y = Tensor("y", y.shape, x.quantization)
    graph = Graph("x", "y", {"x": x, "y": y}, (MaxPool2D("y", "x", "y", (3, 3), (2, 2)),))
    images = inputs_of_size(graph, 20)
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    theirs = session(node, {}, (20, 4, 4, 4), x=np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    np.testing.assert_array_equal(theirs.transpose(0, 2, 3, 1), run(graph, images, rounding="single"))


def test_rescaling_is_xnnpack_s_where_onnxruntime_has_another():
    """XNNPACK keeps 8 bits of the factor, onnxruntime goes through float: both cannot be equalled."""
    rng = np.random.default_rng(1)
    x, y = (tensor(rng, name, (1, 8, 8, 16)) for name in "xy")
    graph = Graph("x", "y", {"x": x, "y": y}, (Requantize("y", "x", "y"),))
    images = inputs_of_size(graph, 100)
    ours = run(graph, images, rounding="single")
    np.testing.assert_array_equal(run_litert(write_tflite(graph), images, kernels="xnnpack"), ours)
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["real"]),
        helper.make_node("QuantizeLinear", ["real", "ys", "yz"], ["y"]),
    ]
    theirs = session(nodes, grid(graph, "x", "x") | grid(graph, "y", "y"), images.shape, x=images)
    assert (theirs != ours).any()
    assert abs(theirs.astype(int) - ours).max() == 1


def test_sums_are_xnnpack_s_where_onnxruntime_has_others():
    """A tie goes up in XNNPACK and to the even number in onnxruntime: with equal scales there are many."""
    graph = network(Conv2D, 0)
    conv, source = next(graph.weighted()), graph["x"]
    assert source.quantization
    assert conv.weight_scale is not None
    fields = {"weight": conv.weight[:CHANNELS], "weight_scale": conv.weight_scale[:CHANNELS]}
    ops = (Conv2D("y", "x", "y", bias=conv.bias[:CHANNELS], **fields), Add("z", "x", "y", "z"))
    for ratio, ties in ((1.3, False), (2.0, True)):
        target = Quantization(float(np.float32(ratio * source.quantization.scale)), 5)
        tensors = {name: Tensor(name, source.shape, source.quantization) for name in "xy"}
        graph = Graph("x", "z", tensors | {"z": Tensor("z", source.shape, target)}, ops)
        x = inputs_of_size(graph, 100)
        values = run_all(graph, x, rounding="single")
        theirs = run_litert(write_tflite(graph), x, kernels="xnnpack")
        np.testing.assert_array_equal(theirs, values["z"])
        names = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
        node = helper.make_node("QLinearAdd", names, ["y"], **MICROSOFT)
        grids = grid(graph, "x", "a") | grid(graph, "y", "b") | grid(graph, "z", "y")
        assert (session(node, grids, x.shape, a=x, b=values["y"]) != values["z"]).any() == ties


def test_averages_are_litert_s_where_onnxruntime_has_others():
    """XNNPACK has no int8 average pool: LiteRT's rounds ties away from zero, onnxruntime's to even."""
    rng = np.random.default_rng(3)
    x = tensor(rng, "x", (1, 8, 8, 4))
    graph = Graph(
        "x",
        "y",
        {"x": x, "y": Tensor("y", (1, 4, 4, 4), x.quantization)},
        (AveragePool2D("y", "x", "y", (2, 2), (2, 2)),),
    )
    images = inputs_of_size(graph, 100)
    ours = run(graph, images, rounding="single")
    np.testing.assert_array_equal(run_litert(write_tflite(graph), images, kernels="xnnpack"), ours)
    names = ["x", "xs", "xz", "ys", "yz"]
    node = helper.make_node(
        "QLinearAveragePool", names, ["y"], kernel_shape=[2, 2], strides=[2, 2], **MICROSOFT
    )
    moved = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    theirs = session(node, grid(graph, "x", "x") | grid(graph, "y", "y"), (100, 4, 4, 4), x=moved)
    assert (theirs.transpose(0, 2, 3, 1) != ours).any()
