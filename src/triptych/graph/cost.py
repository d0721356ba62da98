"""What a network costs beside its activations: multiply-accumulates and constants."""

from math import prod

from triptych.graph import int4
from triptych.graph.ops import Conv2D, DepthwiseConv2D, FullyConnected, Graph, Op, Weighted

BYTES_PER_CHANNEL = 9  # int32 bias, int32 multiplier, int8 shift


def count_macs(graph: Graph) -> int:
    """Multiply-accumulates of the operators with weights, for one image; padding counts as work."""
    return sum(
        op.weight.size * (1 if isinstance(op, FullyConnected) else prod(graph[op.output].shape[1:3]))
        for op in graph.weighted()
    )


def constant_bytes(graph: Graph) -> int:
    """Bytes of weights, biases and requantization factors in the generated C of an int8 network."""
    return sum(weight_bytes(op) + BYTES_PER_CHANNEL * op.bias.size for op in graph.weighted())


def weight_bytes(op: Weighted) -> int:
    """Bytes of the weights of `op`: one each, or one for two of 4 bits."""
    return int4.packed_size(op.weight.size) if op.weight_bits == int4.BITS else op.weight.size


def signature(op: Op, graph: Graph) -> str:
    """What the time of an operator depends on, in words: kind, shapes, kernel, stride, activation."""
    shapes = ("x".join(map(str, graph[name].shape[1:])) for name in (op.input, op.output))
    words = [type(op).__name__, " to ".join(shapes)]
    if isinstance(op, Conv2D | DepthwiseConv2D):
        _, rows, columns, _ = op.weight.shape
        words.append(f"kernel {rows}x{columns} stride {op.stride[0]}x{op.stride[1]}")
    if isinstance(op, Weighted) and op.weight_bits == int4.BITS:
        words.append("weights of 4 bits")
    return ", ".join([*words, op.activation])
