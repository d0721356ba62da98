"""Parameter blocks of the operators without weights."""

import numpy as np

from triptych.engine.integer import (
    add_constants,
    clamp_range,
    mean_constants,
    pad_value,
    quantization_of,
    requantize_constants,
)
from triptych.engine.single import exponentials, mean_factors, rescale_factor, sum_factors
from triptych.engine.softmax import softmax_table
from triptych.engine.weighted import Arrays, Fields, window_fields
from triptych.graph.ops import (
    Add,
    Graph,
    Mean,
    Pad,
    Pool,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
    inputs_of,
    nearest_indices,
)
from triptych.quantization.requantize import Rounding

Unweighted = Add | Pool | Mean | Pad | Requantize | Reshape | ResizeNearest | Softmax


def unweighted_fields(
    graph: Graph, op: Unweighted, symbol: str, arrays: Arrays, rounding: Rounding
) -> Fields:
    """Fields of the kernel's parameter block; constants that it points to are added to `arrays`."""
    match op:
        case Add():
            return {**_sum(graph, op, rounding), "size": graph[op.output].size, **_ends(graph, op)}
        case Mean():
            return {**_mean(graph, op, rounding), **_ends(graph, op)}
        case Pad():
            return _pad(graph, op)
        case ResizeNearest():
            return _resize(graph, op, symbol, arrays)
        case Softmax():
            return _softmax(graph, op, symbol, arrays, rounding)
        case Requantize():
            return _requantize(graph, op, rounding)
        case Reshape():
            return {"size": graph[op.output].size}
        case _:
            window = window_fields(graph, op, op.window)
            return {"window": window, "channels": graph[op.input].shape[3], **_ends(graph, op)}


def _ends(graph: Graph, op: Add | Mean | Pool) -> Fields:
    return dict(
        zip(("low", "high"), clamp_range(op.activation, quantization_of(graph, op.output)), strict=True)
    )


def _sum(graph: Graph, op: Add, rounding: Rounding) -> Fields:
    target: Fields = {"output_zero_point": quantization_of(graph, op.output).zero_point}
    if rounding == "single":
        return {**vars(sum_factors(graph, op)), **target}
    constants = add_constants(graph, op)
    return {
        **vars(constants),
        **target,
        "zero_point": tuple(quantization_of(graph, name).zero_point for name in inputs_of(op)),
    }


def _mean(graph: Graph, op: Mean, rounding: Rounding) -> Fields:
    over: Fields = {"over_rows": int(1 in op.axes), "over_columns": int(2 in op.axes)}
    return {**_image(graph, op), **over, "factor": _mean_factor(graph, op, rounding)}


def _mean_factor(graph: Graph, op: Mean, rounding: Rounding) -> Fields:
    if rounding == "single":
        scale, bias = mean_factors(graph, op)
        return {"scale": float(scale), "bias": float(bias)}
    count, multiplier, shift = mean_constants(graph, op)
    return {
        "bias": -count * quantization_of(graph, op.input).zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": quantization_of(graph, op.output).zero_point,
    }


def _image(graph: Graph, op: Mean | Pad) -> Fields:
    return dict(zip(("height", "width", "channels"), graph[op.input].shape[1:], strict=True))


def _pad(graph: Graph, op: Pad) -> Fields:
    names = ("top", "bottom"), ("left", "right"), ("front", "back")
    fields = _image(graph, op)
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


def _softmax(graph: Graph, op: Softmax, symbol: str, arrays: Arrays, rounding: Rounding) -> Fields:
    powers = exponentials if rounding == "single" else softmax_table
    arrays["table"] = powers(quantization_of(graph, op.input).scale, op.beta)
    channels = graph[op.input].shape[-1]
    return {"table": f"{symbol}_table", "rows": graph[op.input].size // channels, "channels": channels}


def _requantize(graph: Graph, op: Requantize, rounding: Rounding) -> Fields:
    if rounding == "single":
        factor: Fields = {"multiplier": rescale_factor(graph, op)}
    else:
        factor = dict(zip(("multiplier", "shift"), requantize_constants(graph, op), strict=True))
    return {
        "size": graph[op.output].size,
        "input_zero_point": quantization_of(graph, op.input).zero_point,
        **factor,
        "output_zero_point": quantization_of(graph, op.output).zero_point,
    }
