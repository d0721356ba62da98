"""Post-training quantization: a float graph and its ranges become an int8 graph, its weights of 8 or 4 bits.

By TFLite's quantization specification: convolutions per channel, the fully
connected layer per tensor (of 4 bits, per channel too); what moves values or picks
among them keeps the grid of its input, and softmax has its own.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from triptych.graph.ops import (
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    Moving,
    Op,
    Pool,
    Quantization,
    Softmax,
    Weighted,
)
from triptych.quantization.affine import (
    activation_quantization,
    quantize_bias,
    quantize_weight,
    weight_scale,
)
from triptych.quantization.calibrate import Range

SOFTMAX_GRID = Quantization(1 / 256, -128)


def lower(graph: Graph, ranges: Mapping[str, Range], *, weight_bits: int = 8) -> Graph:
    """The int8 network: weights int8 (of 4 bits in [-7, 7]), biases int32, tensors with their quantization.

    `ranges` needs every tensor of `graph`; the input's is the range that the
    deployed network accepts.
    """
    grids = grids_of(graph, ranges)
    tensors = {name: replace(tensor, quantization=grids[name]) for name, tensor in graph.tensors.items()}
    ops = tuple(_lower_op(op, grids, weight_bits) for op in graph.ops)
    return Graph(graph.input, graph.output, tensors, ops)


def per_tensor(op: Op, weight_bits: int) -> bool:
    """Whether the weights of `op` have one scale: 15 levels are too few to share among channels."""
    return isinstance(op, FullyConnected) and weight_bits == 8


def grids_of(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Quantization]:
    """The grid of every tensor; what only moves or pools values keeps that of its input."""
    grids = {name: activation_quantization(*ranges[name]) for name in graph.tensors}
    for op in graph.ops:
        if isinstance(op, Pool | Moving):
            grids[op.output] = grids[op.input]
        if isinstance(op, Softmax):
            grids[op.output] = SOFTMAX_GRID
    return grids


def _lower_op(op: Op, grids: Mapping[str, Quantization], bits: int) -> Op:
    if not isinstance(op, Weighted):
        return op
    before, after = grids[op.input].scale, grids[op.output].scale
    channels_first, bias = _channels_first(op), np.asarray(op.bias, np.float64)
    scale = weight_scale(channels_first, bias, input_scale=before, output_scale=after, bits=bits)
    if per_tensor(op, bits):
        scale = scale.max(keepdims=True)
    per_channel = scale.reshape(-1, *[1] * (channels_first.ndim - 1))
    weight = quantize_weight(channels_first, per_channel, bits)
    return replace(
        op,
        weight=_channels_last(op, weight),
        bias=quantize_bias(bias, input_scale=before, scale=scale),
        weight_scale=scale,
        weight_bits=bits,
    )


def _channels_first(op: Weighted) -> NDArray[np.float64]:
    weight = np.asarray(op.weight, np.float64)
    return np.moveaxis(weight, -1, 0) if isinstance(op, DepthwiseConv2D) else weight


def _channels_last(op: Weighted, weight: NDArray[np.int8]) -> NDArray[np.int8]:
    back = np.moveaxis(weight, 0, -1) if isinstance(op, DepthwiseConv2D) else weight
    return np.ascontiguousarray(back)
