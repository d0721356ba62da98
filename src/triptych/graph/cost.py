"""What a network costs beside its activations: multiply-accumulates and constants."""

from math import prod

from triptych.graph.ops import FullyConnected, Graph

BYTES_PER_CHANNEL = 9  # int32 bias, int32 multiplier, int8 shift


def count_macs(graph: Graph) -> int:
    """Multiply-accumulates of the operators with weights, for one image; padding counts as work."""
    return sum(
        op.weight.size * (1 if isinstance(op, FullyConnected) else prod(graph[op.output].shape[1:3]))
        for op in graph.weighted()
    )


def constant_bytes(graph: Graph) -> int:
    """Bytes of weights, biases and requantization factors in the generated C of an int8 network."""
    return sum(op.weight.size + BYTES_PER_CHANNEL * op.bias.size for op in graph.weighted())
