"""Channels that no input can change leave the network; every output byte stays the same.

Claim. The network returned by `eliminate_constant_channels` computes the outputs
of the one given, byte for byte, for every input.

Proof. Let D be a set of channels (tensor, c), none of the network's input or
output, such that for every operator

1. convolution or matrix product reading (t, c) in D: either c has one value v for
   every input (`intervals`) and no window leaves the image or v is the zero point
   (the value of padding), or every weight from c to a channel outside D is zero;
2. operator that treats channels apart (depthwise, pools, mean, resize, padding of
   rows and columns, requantization, addition): channel c is in D for all of its
   inputs and its output, or for none.

Go through the operators in order and assume that channels outside D of its inputs
hold what they held before. Case 2: an output channel outside D depends on its own
channel alone, which is there. Case 1: an accumulator outside D lacks the terms
`w (v - zero point)` of the channels in D, which are the same in every window, and
which the bias has gained, or which are zero. It is the same integer, and bias,
multiplier, shift and clamp of the channel are as before. So channels outside D hold
what they held, and the output is outside D.  []

Integer sums are exact in any order, and the bias stays in int32: with the terms
that it gains it is one of the partial sums that `requantization` bounds. The set
is the largest one, found by removing what breaks a rule until nothing does.
Layers are then filled up with channels that could go, to a multiple of four, which
the kernels read at once.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from triptych.config.tiny import EngineConfig
from triptych.engine.integer import quantization_of
from triptych.engine.intervals import Interval, intervals, is_padded
from triptych.graph import ops
from triptych.graph.ops import Graph, Op, inputs_of
from triptych.quantization.requantize import Rounding

MULTIPLE = 4  # channels that a kernel reads at once
Gone = dict[str, Bool[np.ndarray, " _"]]  # for each tensor, the channels in D


def eliminate_constant_channels(
    graph: Graph, *, rounding: Rounding = "tflite", multiple: int = MULTIPLE
) -> Graph:
    """`graph` without the channels that are the same for every input; the proof is above.

    Layers keep a multiple of `multiple` channels where they had enough.
    """
    found = intervals(graph, rounding=rounding)
    gone = _largest(graph, found)
    while (short := _too_few(gone, multiple)) is not None:
        name, channel = short
        gone[name][channel] = False
        _settle(graph, found, gone)
    if not any(dropped.any() for dropped in gone.values()):
        return graph
    tensors = {
        name: replace(tensor, shape=(*tensor.shape[:-1], int((~gone[name]).sum())))
        for name, tensor in graph.tensors.items()
    }
    return replace(graph, tensors=tensors, ops=tuple(_without(graph, op, found, gone) for op in graph.ops))


def firmware_graph(graph: Graph, config: EngineConfig) -> Graph:
    """The network that the firmware runs: `graph`, or the same function with fewer channels."""
    return eliminate_constant_channels(graph) if config.eliminate_constant_channels else graph


def _largest(graph: Graph, found: dict[str, Interval]) -> Gone:
    gone = {name: np.full(graph[name].shape[-1], name not in (graph.input, graph.output)) for name in found}
    _settle(graph, found, gone)
    return gone


def _settle(graph: Graph, found: dict[str, Interval], gone: Gone) -> None:
    """Remove from `gone` what breaks a rule, until nothing does."""
    before = None
    while before != (before := sum(int(dropped.sum()) for dropped in gone.values())):
        for op in reversed(graph.ops):
            _apply(graph, op, found, gone)


def _apply(graph: Graph, op: Op, found: dict[str, Interval], gone: Gone) -> None:
    """The rule of one operator."""
    if isinstance(op, ops.Conv2D | ops.FullyConnected):
        gone[op.input] &= _foldable(graph, op, found[op.input]) | _unused(op, gone)
        return
    together = {*inputs_of(op), op.output}
    common = np.logical_and.reduce([gone[name] for name in together]) if _apart(graph, op) else False
    for name in together:
        gone[name] = np.logical_and(gone[name], common)


def _apart(graph: Graph, op: Op) -> bool:
    """Whether `op` treats channels apart, so that one may leave it."""
    if isinstance(op, ops.Pad):
        return op.amounts[2] == (0, 0)
    if isinstance(op, ops.Reshape):
        return graph[op.input].shape[-1] == graph[op.output].shape[-1]
    kinds = (
        ops.DepthwiseConv2D
        | ops.AveragePool2D
        | ops.MaxPool2D
        | ops.Mean
        | ops.ResizeNearest
        | ops.Requantize
        | ops.Add
    )
    return isinstance(op, kinds)


def _foldable(
    graph: Graph, op: ops.Conv2D | ops.FullyConnected, interval: Interval
) -> Bool[np.ndarray, " channels"]:
    least, largest = interval
    if isinstance(op, ops.Conv2D) and is_padded(graph, op):
        zero_point = quantization_of(graph, op.input).zero_point
        return np.logical_and(least == zero_point, largest == zero_point)
    return np.equal(least, largest)


def _unused(op: ops.Conv2D | ops.FullyConnected, gone: Gone) -> Bool[np.ndarray, " channels"]:
    channels = len(gone[op.input])
    kept = op.weight[~gone[op.output]]
    return np.count_nonzero(kept.reshape(-1, channels), axis=0) == 0


def _too_few(gone: Gone, multiple: int) -> tuple[str, int] | None:
    """A channel to keep where a tensor has none, or not a multiple."""
    for name, dropped in gone.items():
        kept = int((~dropped).sum())
        if dropped.any() and (kept == 0 or kept % multiple):
            return name, int(np.flatnonzero(dropped)[0])
    return None


def _without(graph: Graph, op: Op, found: dict[str, Interval], gone: Gone) -> Op:
    kept = ~gone[op.output]
    match op:
        case ops.DepthwiseConv2D():
            assert op.weight_scale is not None
            return replace(
                op, weight=op.weight[..., kept], bias=op.bias[kept], weight_scale=op.weight_scale[kept]
            )
        case ops.Conv2D() | ops.FullyConnected():
            return _without_inputs(graph, op, found[op.input], gone)
        case ops.Reshape():
            return replace(op, shape=(*op.shape[:-1], int(kept.sum())))
        case _:
            return op


def _without_inputs(graph: Graph, op: ops.Conv2D | ops.FullyConnected, interval: Interval, gone: Gone) -> Op:
    """`op` without input channels, whose terms go to the bias, and without output channels."""
    assert op.weight_scale is not None
    dropped, kept = gone[op.input], ~gone[op.output]
    weight = op.weight.reshape(len(op.weight), -1, len(dropped))
    offset = interval[0] - quantization_of(graph, op.input).zero_point
    terms = weight[..., dropped].astype(np.int64).sum(axis=1) @ offset[dropped]
    shape = (*op.weight.shape[1:-1], -1) if isinstance(op, ops.Conv2D) else (-1,)
    scales = op.weight_scale[kept] if len(op.weight_scale) == len(kept) else op.weight_scale
    return replace(
        op,
        weight=weight[kept][..., ~dropped].reshape(int(kept.sum()), *shape),
        bias=(op.bias + terms)[kept].astype(op.bias.dtype),
        weight_scale=scales,
    )
