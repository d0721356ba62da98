"""Interval analysis: the least and the largest value that every channel can take, for any input.

Every integer operator but softmax and the matrix products is monotone in its
inputs, elementwise: its image of the least values is the least it can give. A
matrix product is monotone in its accumulator (multipliers are not negative, and
rounding and clamping are monotone), and an accumulator over boxes of inputs is
least where each weight meets the end of the interval that its sign asks for. Both
ends are attained, so the result of one operator is exact; over several, it is an
enclosure, since channels that depend on each other count as independent.
"""

import numpy as np
from jaxtyping import Int64

from triptych.engine.integer import clamp_range, quantization_of, requantization
from triptych.engine.reference import compute, finish_sums
from triptych.graph.ops import (
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    Op,
    Softmax,
    Weighted,
    inputs_of,
    paddings_of,
)
from triptych.quantization.requantize import Rounding

Ends = Int64[np.ndarray, " _"]
Interval = tuple[Ends, Ends]  # least and largest value of each channel, the last axis


def intervals(graph: Graph, *, rounding: Rounding = "tflite") -> dict[str, Interval]:
    """The interval of every channel of every activation.

    Raises UnsupportedError where an accumulator could overflow.
    """
    channels = graph[graph.input].shape[-1]
    found: dict[str, Interval] = {graph.input: (np.full(channels, -128), np.full(channels, 127))}
    for op in graph.ops:
        found[op.output] = _interval(graph, op, found, rounding)
    return found


def _interval(graph: Graph, op: Op, found: dict[str, Interval], rounding: Rounding) -> Interval:
    low, high = clamp_range(op.activation, quantization_of(graph, op.output))
    if isinstance(op, Softmax):
        channels = graph[op.output].shape[-1]
        return np.full(channels, -128), np.full(channels, 127)
    if isinstance(op, Weighted):
        ends = [_finish(graph, op, sums, rounding) for sums in _sums(graph, op, found[op.input])]
    else:
        ends = [_image(graph, op, found, end, rounding) for end in (0, 1)]
    least, largest = (np.clip(end, low, high) for end in ends)
    return least, largest


def _image(graph: Graph, op: Op, found: dict[str, Interval], end: int, rounding: Rounding) -> Ends:
    """What a monotone operator makes of inputs that are all at one `end`: the extreme over positions."""
    values = {
        name: np.broadcast_to(found[name][end], graph[name].shape).astype(np.int8) for name in inputs_of(op)
    }
    output = compute(graph, op, values, rounding).astype(np.int64).reshape(-1, graph[op.output].shape[-1])
    return output.max(axis=0) if end else output.min(axis=0)


def _sums(graph: Graph, op: Weighted, interval: Interval) -> tuple[Ends, Ends]:
    """Least and largest accumulator of each output channel."""
    zero_point = quantization_of(graph, op.input).zero_point
    least, largest = interval
    if not isinstance(op, FullyConnected) and is_padded(graph, op):
        least, largest = np.minimum(least, zero_point), np.maximum(largest, zero_point)
    weight = op.weight.astype(np.int64)
    if isinstance(op, FullyConnected):
        weight = weight.reshape(len(weight), -1, len(least))
    ends = weight * (least - zero_point), weight * (largest - zero_point)
    axes = (0, 1, 2) if isinstance(op, DepthwiseConv2D) else tuple(range(1, weight.ndim))
    return np.minimum(*ends).sum(axis=axes) + op.bias, np.maximum(*ends).sum(axis=axes) + op.bias


def _finish(graph: Graph, op: Weighted, sums: Ends, rounding: Rounding) -> Ends:
    factors = requantization(graph, op)
    return finish_sums(op, sums, factors, rounding) + quantization_of(graph, op.output).zero_point


def is_padded(graph: Graph, op: Conv2D | DepthwiseConv2D) -> bool:
    """Whether some window leaves the image."""
    paddings = paddings_of(graph[op.input].shape[1:3], op.weight.shape[1:3], op.stride, op.padding)
    return paddings != ((0, 0), (0, 0))
