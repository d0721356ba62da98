"""Parameter blocks of the operators with weights: what the C kernels read of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.engine.integer import clamp_range, quantization_of, requantization
from triptych.graph import int4
from triptych.graph.ops import Conv2D, DepthwiseConv2D, FullyConnected, Graph, Pool, Weighted, paddings_of
from triptych.quantization.requantize import Rounding

CONV2D_BLOCK = 2  # TRIPTYCH_CONV2D_BLOCK of kernels.h
Value = int | float | str | tuple[int, ...] | Mapping[str, Any]  # of a C initialiser; blocks are nested
Fields = dict[str, Value]
Arrays = dict[str, NDArray[np.integer] | NDArray[np.float32]]


def weighted_fields(graph: Graph, op: Weighted, symbol: str, arrays: Arrays, rounding: Rounding) -> Fields:
    """Fields of the kernel's parameter block; constants that it points to are added to `arrays`."""
    match op:
        case Conv2D():
            own = _conv2d(graph, op, symbol, arrays)
        case DepthwiseConv2D():
            own = _depthwise_conv2d(graph, op, arrays)
        case FullyConnected():
            own = _fully_connected(op, arrays)
    return {**own, "weight": f"{symbol}_weight", "output": _output(graph, op, symbol, arrays, rounding)}


def _dense(op: Weighted) -> NDArray[np.int8]:
    """Weights one after the other, those of 4 bits two a byte."""
    weight = op.weight.astype(np.int8)
    return int4.pack(weight).view(np.int8) if op.weight_bits == int4.BITS else weight


def _conv2d(graph: Graph, op: Conv2D, symbol: str, arrays: Arrays) -> Fields:
    out, _, _, channels = op.weight.shape
    blocked = _blocked(op.weight.astype(np.int8).reshape(out, -1, channels))
    arrays["weight"] = _dense(op) if op.weight_bits == int4.BITS else blocked
    padded = _is_padded(graph, op)
    if padded:
        arrays["padding"] = np.full(channels, quantization_of(graph, op.input).zero_point, np.int8)
    return {
        "window": window_fields(graph, op, op.weight.shape[1:3]),
        "padding": f"{symbol}_padding" if padded else 0,
        "input_channels": channels,
        "output_channels": out,
    }


def _depthwise_conv2d(graph: Graph, op: DepthwiseConv2D, arrays: Arrays) -> Fields:
    arrays["weight"] = _dense(replace(op, weight=np.moveaxis(op.weight[0], 2, 0)))
    return {
        "window": window_fields(graph, op, op.weight.shape[1:3]),
        "channels": len(op.bias),
        "input_zero_point": quantization_of(graph, op.input).zero_point,
        "int4": int(op.weight_bits == int4.BITS),
    }


def _fully_connected(op: FullyConnected, arrays: Arrays) -> Fields:
    arrays["weight"] = _dense(op)
    return {
        "features": op.weight.shape[1],
        "outputs": op.weight.shape[0],
        "int4": int(op.weight_bits == int4.BITS),
    }


def _blocked(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """[out, taps, in] in the order of `kernels.h`: two output channels side by side, then the rest."""
    out, taps, channels = weight.shape
    whole, fours = out - out % CONV2D_BLOCK, channels - channels % 4
    blocks = weight[:whole].reshape(whole // CONV2D_BLOCK, CONV2D_BLOCK, taps, channels)
    runs = blocks[..., :fours].reshape(*blocks.shape[:3], fours // 4, 4).transpose(0, 2, 3, 1, 4)
    rest = blocks[..., fours:].transpose(0, 2, 3, 1)
    side_by_side = [
        part.reshape(len(blocks), taps, CONV2D_BLOCK * count)
        for part, count in ((runs, fours), (rest, channels - fours))
    ]
    return np.concatenate([np.concatenate(side_by_side, axis=2).ravel(), weight[whole:].ravel()])


def _is_padded(graph: Graph, op: Conv2D) -> bool:
    paddings = paddings_of(graph[op.input].shape[1:3], op.weight.shape[1:3], op.stride, op.padding)
    return paddings != ((0, 0), (0, 0))


def _output(graph: Graph, op: Weighted, symbol: str, arrays: Arrays, rounding: Rounding) -> Fields:
    factors = requantization(graph, op)
    output = quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)
    arrays["bias"] = _folded_bias(graph, op)
    if rounding == "single":
        names, arrays["scale"] = ("bias", "scale"), factors.scale
    else:
        names = ("bias", "multiplier", "shift")
        arrays |= {"multiplier": factors.multiplier.astype(np.int32), "shift": factors.shift.astype(np.int8)}
    return {
        **{name: f"{symbol}_{name}" for name in names},
        "zero_point": output.zero_point,
        "low": low,
        "high": high,
    }


def _folded_bias(graph: Graph, op: Weighted) -> NDArray[np.int32]:
    """Bias with the input's zero point folded in, so that inner loops multiply raw bytes."""
    channel = 3 if isinstance(op, DepthwiseConv2D) else 0
    weight = np.moveaxis(op.weight.astype(np.int64), channel, 0).reshape(len(op.bias), -1)
    folded = op.bias.astype(np.int64) - quantization_of(graph, op.input).zero_point * weight.sum(axis=1)
    return folded.astype(np.int32)


def window_fields(graph: Graph, op: Conv2D | DepthwiseConv2D | Pool, kernel: tuple[int, ...]) -> Fields:
    size = graph[op.input].shape[1:3]
    before = [pair[0] for pair in paddings_of(size, kernel, op.stride, op.padding)]
    names = ("input", "output", "kernel", "stride")
    pairs = zip(names, (size, graph[op.output].shape[1:3], kernel, op.stride), strict=True)
    fields: Fields = {}
    for name, (height, width) in pairs:
        fields |= {f"{name}_height": height, f"{name}_width": width}
    return {**fields, "pad_top": before[0], "pad_left": before[1]}
