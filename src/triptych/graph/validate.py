"""Whether a network is well formed: what planner, reference and generator rely on."""

import math

from triptych.errors import DataError
from triptych.graph.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Moving,
    Op,
    Pad,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
    Tensor,
    inputs_of,
    output_size,
    paddings_of,
)


def validate(graph: Graph) -> Graph:
    """Return `graph`; raise DataError that names the operator where it is not well formed.

    Operators read what was written before, each tensor is written once, and
    declared shapes are those that the operators compute.
    """
    written = {graph.input}
    for op in graph.ops:
        for name in inputs_of(op):
            _require(name in written, op, f"reads {name!r} before anything writes it")
        _require(op.output not in written, op, f"writes {op.output!r}, which is already written")
        _require(op.output in graph.tensors, op, f"writes {op.output!r}, which is not declared")
        _check_shapes(graph, op)
        written.add(op.output)
    if graph.output not in written:
        raise DataError(f"nothing writes the network's output {graph.output!r}")
    return graph


def _require(condition: bool, op: Op, problem: str) -> None:
    if not condition:
        raise DataError(f"operator {op.name!r} ({type(op).__name__}) {problem}")


def _check_shapes(graph: Graph, op: Op) -> None:
    source, output = graph[op.input], graph[op.output]
    for tensor in (source, output):
        _require(
            tensor.shape[:1] == (1,) and min(tensor.shape) > 0,
            op,
            f"has tensor {tensor.name!r} of shape {list(tensor.shape)}; "
            "batch 1 and sizes above zero are required",
        )
    expected = _expected_shape(graph, op, source)
    _require(
        output.shape == expected,
        op,
        f"computes shape {list(expected)}, but {output.name!r} declares {list(output.shape)}",
    )


def _expected_shape(graph: Graph, op: Op, source: Tensor) -> tuple[int, ...]:
    match op:
        case Add():
            other = graph[op.other]
            _require(other.shape == source.shape, op, f"adds {list(source.shape)} and {list(other.shape)}")
            return source.shape
        case FullyConnected():
            out, features = op.weight.shape
            _require(features == source.size, op, f"multiplies {source.size} values by {features} weights")
            _check_bias(op, out)
            return (*[1] * (len(source.shape) - 1), out) if op.keep_dims else (1, out)
        case Conv2D():
            out, *kernel, channels = op.weight.shape
            _check_bias(op, out)
        case DepthwiseConv2D():
            _, *kernel, channels = op.weight.shape
            out = channels
            _check_bias(op, out)
        case Mean() | Pad() | ResizeNearest() | Reshape() | Softmax() | Requantize():
            return _unweighted_shape(op, source)
        case AveragePool2D() | MaxPool2D():
            kernel, out = list(op.window), source.shape[-1]
            channels = out
    _require_image(source, op)
    _require(source.shape[3] == channels, op, f"has weights for {channels} of {source.shape[3]} channels")
    _require(min(*kernel, *op.stride) > 0, op, f"has window {list(kernel)} and stride {list(op.stride)}")
    size = source.shape[1:3], kernel, op.stride
    paddings = paddings_of(*size, op.padding)
    height, width = (output_size(*each) for each in zip(*size, paddings, strict=True))
    return 1, height, width, out


def _unweighted_shape(op: Mean | Moving | Softmax | Requantize, source: Tensor) -> tuple[int, ...]:
    if isinstance(op, Softmax | Requantize):
        return source.shape
    if isinstance(op, Reshape):
        _require(math.prod(op.shape) == source.size, op, f"reshapes {source.size} values to {list(op.shape)}")
        return op.shape
    _require_image(source, op)
    if isinstance(op, Mean):
        return tuple(1 if axis in op.axes else size for axis, size in enumerate(source.shape))
    if isinstance(op, ResizeNearest):
        _require(min(op.size) > 0, op, f"resizes to {list(op.size)}")
        return 1, *op.size, source.shape[3]
    _require(min(map(min, op.amounts)) >= 0, op, f"pads by {list(op.amounts)}, less than nothing")
    return 1, *(size + sum(pair) for size, pair in zip(source.shape[1:], op.amounts, strict=True))


def _require_image(source: Tensor, op: Op) -> None:
    _require(len(source.shape) == 4, op, f"needs an image, but {source.name!r} is {list(source.shape)}")


def _check_bias(op: Conv2D | DepthwiseConv2D | FullyConnected, channels: int) -> None:
    _require(op.bias.shape == (channels,), op, f"has bias {list(op.bias.shape)} for {channels} outputs")
    if op.weight_scale is not None:
        allowed = {(channels,), (1,)} if isinstance(op, FullyConnected) else {(channels,)}
        scales = list(op.weight_scale.shape)
        _require(op.weight_scale.shape in allowed, op, f"has {scales} scales for {channels} outputs")
