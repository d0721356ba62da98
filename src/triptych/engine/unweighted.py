"""Parameter blocks of the operators that move or rescale values, and of softmax."""

import numpy as np
from numpy.typing import NDArray

from triptych.engine.integer import quantization_of, requantize_constants
from triptych.engine.softmax import softmax_table
from triptych.graph.ops import Graph, Pad, Requantize, Reshape, ResizeNearest, Softmax, nearest_indices

Fields = dict[str, int | str]
Arrays = dict[str, NDArray[np.integer] | NDArray[np.float32]]


def unweighted_fields(
    graph: Graph, op: Pad | Requantize | Reshape | ResizeNearest | Softmax, symbol: str, arrays: Arrays
) -> Fields:
    """Fields of the kernel's parameter block; constants that it points to are added to `arrays`."""
    match op:
        case Pad():
            return _pad(graph, op)
        case ResizeNearest():
            return _resize(graph, op, symbol, arrays)
        case Softmax():
            return _softmax(graph, op, symbol, arrays)
        case Requantize():
            return _requantize(graph, op)
        case Reshape():
            return {"size": graph[op.output].size}


def pad_value(graph: Graph, op: Pad) -> int:
    """What `op` fills with: its own value, or the real zero."""
    return quantization_of(graph, op.output).zero_point if op.value is None else op.value


def _pad(graph: Graph, op: Pad) -> Fields:
    names = ("top", "bottom"), ("left", "right"), ("front", "back")
    fields: Fields = dict(zip(("height", "width", "channels"), graph[op.input].shape[1:], strict=True))
    for pair, amounts in zip(names, op.amounts, strict=True):
        fields |= dict(zip(pair, amounts, strict=True))
    return {**fields, "value": pad_value(graph, op)}


def _resize(graph: Graph, op: ResizeNearest, symbol: str, arrays: Arrays) -> Fields:
    _, *sizes, channels = graph[op.input].shape
    for name, size, target in zip(("row", "column"), sizes, op.size, strict=True):
        indices = nearest_indices(
            size, target, align_corners=op.align_corners, half_pixel_centers=op.half_pixel_centers
        )
        arrays[name] = indices.astype(np.int32)
    return {
        "row": f"{symbol}_row",
        "column": f"{symbol}_column",
        "output_height": op.size[0],
        "output_width": op.size[1],
        "input_width": sizes[1],
        "channels": channels,
    }


def _softmax(graph: Graph, op: Softmax, symbol: str, arrays: Arrays) -> Fields:
    arrays["table"] = softmax_table(quantization_of(graph, op.input).scale, op.beta)
    channels = graph[op.input].shape[-1]
    return {"table": f"{symbol}_table", "rows": graph[op.input].size // channels, "channels": channels}


def _requantize(graph: Graph, op: Requantize) -> Fields:
    multiplier, shift = requantize_constants(graph, op)
    return {
        "size": graph[op.output].size,
        "input_zero_point": quantization_of(graph, op.input).zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "output_zero_point": quantization_of(graph, op.output).zero_point,
    }
