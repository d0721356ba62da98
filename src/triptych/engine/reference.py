"""The integer network in numpy: what the generated C must compute, byte for byte.

`rounding="tflite"` is what LiteRT 2.3's reference kernels do: convolutions and
Add round twice, FullyConnected once (measured: 30,000 of 30,000 outputs equal,
96 different under double rounding). `"single"` is what LiteRT does by default
(`engine/single.py`).

Sums are matrix products in float64, exact because every accumulator stays far
below 2**53. Source: tensorflow/lite/kernels/internal/reference/integer_ops.
"""

from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np
from jaxtyping import Float64, Int8, Int64

from triptych.engine.integer import (
    Requantization,
    add_constants,
    clamp_range,
    mean_constants,
    pad_value,
    quantization_of,
    requantization,
    requantize_constants,
)
from triptych.engine.single import add_once, mean_once, requantize_real, rescale_once, softmax_once
from triptych.engine.softmax import normalise, softmax_table
from triptych.graph import ops
from triptych.graph.ops import Graph, Op, Padding, Weighted, nearest_indices, paddings_of
from triptych.quantization.requantize import Rounding, requantize

Unweighted = (
    ops.Add
    | ops.AveragePool2D
    | ops.MaxPool2D
    | ops.Mean
    | ops.Requantize
    | ops.Softmax
    | ops.Pad
    | ops.ResizeNearest
    | ops.Reshape
)
SOFTMAX_ZERO_POINT = -128  # TFLite's quantization specification
CHUNK = 256  # inputs at once: bounds the memory of intermediate sums

Values = Int8[np.ndarray, "n ..."]
Sums = Float64[np.ndarray, "n ..."]


def run(
    graph: Graph, inputs: Int8[np.ndarray, "n height width channels"], *, rounding: Rounding = "tflite"
) -> Int8[np.ndarray, "n ..."]:
    """The outputs [n, ...] of the integer network for `n` inputs."""
    parts = np.array_split(inputs, max(1, -(-len(inputs) // CHUNK)))
    return np.concatenate([run_all(graph, part, rounding=rounding)[graph.output] for part in parts])


def run_all(
    graph: Graph, inputs: Int8[np.ndarray, "n height width channels"], *, rounding: Rounding = "tflite"
) -> dict[str, Int8[np.ndarray, "n ..."]]:
    """Every activation by name, for `n` inputs at once."""
    values: dict[str, Values] = {graph.input: inputs}
    for op in graph.ops:
        wide = compute(graph, op, values, rounding)
        low, high = clamp_range(op.activation, quantization_of(graph, op.output))
        shape = (len(inputs), *graph[op.output].shape[1:])
        values[op.output] = np.clip(wide, low, high).astype(np.int8).reshape(shape)
    return values


def compute(
    graph: Graph, op: Op, values: dict[str, Values], rounding: Rounding
) -> Int64[np.ndarray, "n ..."]:
    """The output of one operator before the clamp of its activation, from the `values` of its inputs."""
    if isinstance(op, Weighted):
        return _weighted(graph, op, values[op.input], rounding)
    if rounding == "single" and isinstance(op, ops.Add | ops.Mean | ops.Requantize | ops.Softmax):
        return _once(graph, op, values)
    return _unweighted(graph, op, values)


def _unweighted(graph: Graph, op: Unweighted, values: dict[str, Values]) -> Int64[np.ndarray, "n ..."]:
    x = values[op.input]
    match op:
        case ops.Add():
            return _add(graph, op, x, values[op.other])
        case ops.AveragePool2D():
            return _average(op, x)
        case ops.MaxPool2D():
            return _maximum(op, x)
        case ops.Mean():
            return _mean(graph, op, x)
        case ops.Requantize():
            return _requantize(graph, op, x)
        case ops.Softmax():
            return _softmax(graph, op, x)
        case _:
            return _move(graph, op, x)


def _once(
    graph: Graph, op: ops.Add | ops.Mean | ops.Requantize | ops.Softmax, values: dict[str, Values]
) -> Int64[np.ndarray, "n ..."]:
    """What `rounding="single"` computes otherwise besides sums of products."""
    x = values[op.input].astype(np.int64)
    match op:
        case ops.Add():
            return add_once(graph, op, x, values[op.other].astype(np.int64))
        case ops.Mean():
            return mean_once(graph, op, x)
        case ops.Requantize():
            return rescale_once(graph, op, x)
        case ops.Softmax():
            return softmax_once(graph, op, x) + SOFTMAX_ZERO_POINT


def _weighted(graph: Graph, op: Weighted, x: Values, rounding: Rounding) -> Int64[np.ndarray, "n ..."]:
    centred = x.astype(np.float64) - quantization_of(graph, op.input).zero_point
    sums = SUMS[type(op)](op, centred) + op.bias
    factors = requantization(graph, op)
    scaled = finish_sums(op, sums.astype(np.int64), factors, rounding)
    return scaled + quantization_of(graph, op.output).zero_point


def finish_sums(
    op: Weighted, sums: Int64[np.ndarray, "*axes out"], factors: Requantization, rounding: Rounding
) -> Int64[np.ndarray, "*axes out"]:
    """Accumulators of `op` as output values, without the zero point."""
    if rounding == "single":
        return requantize_real(sums, factors.scale)
    once = isinstance(op, ops.FullyConnected)
    return requantize(sums, multiplier=factors.multiplier, shift=factors.shift, once=once)


def _convolve(op: ops.Conv2D, x: Sums) -> Sums:
    weight = op.weight.astype(np.float64)
    windows = _windows(x, weight.shape[1:3], op.stride, op.padding)
    return _total(window @ weight[:, row, column].T for (row, column), window in windows)


def _convolve_depthwise(op: ops.DepthwiseConv2D, x: Sums) -> Sums:
    weight = op.weight.astype(np.float64)
    windows = _windows(x, weight.shape[1:3], op.stride, op.padding)
    return _total(window * weight[0, row, column] for (row, column), window in windows)


def _multiply(op: ops.FullyConnected, x: Sums) -> Sums:
    return x.reshape(len(x), -1) @ op.weight.T.astype(np.float64)


SUMS = {ops.Conv2D: _convolve, ops.DepthwiseConv2D: _convolve_depthwise, ops.FullyConnected: _multiply}


def _total(terms: Iterable[Sums]) -> Sums:
    return reduce(np.add, terms)


def _windows(
    x: Sums, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding, outside: float = 0.0
) -> Iterator[tuple[tuple[int, int], Sums]]:
    """For each kernel position (row, column): the padded input under it, [n, out_height, out_width, c]."""
    around = paddings_of(x.shape[1:3], kernel, stride, padding)
    padded = np.pad(x, [(0, 0), *around, (0, 0)], constant_values=outside)
    height, width = (
        (size - k) // step + 1 for size, k, step in zip(padded.shape[1:3], kernel, stride, strict=True)
    )
    for row, column in np.ndindex(*kernel):
        rows = slice(row, row + (height - 1) * stride[0] + 1, stride[0])
        columns = slice(column, column + (width - 1) * stride[1] + 1, stride[1])
        yield (row, column), padded[:, rows, columns]


def _average(op: ops.AveragePool2D, x: Values) -> Int64[np.ndarray, "n ..."]:
    """Mean over what lies inside the image, rounded half away from zero."""
    ones = np.ones((1, *x.shape[1:3], 1))
    total, count = (
        _total(window for _, window in _windows(values, op.window, op.stride, op.padding)).astype(np.int64)
        for values in (x.astype(np.float64), ones)
    )
    return np.sign(total) * ((np.abs(total) + count // 2) // count)


def _maximum(op: ops.MaxPool2D, x: Values) -> Int64[np.ndarray, "n ..."]:
    windows = _windows(x.astype(np.float64), op.window, op.stride, op.padding, outside=-128.0)
    return reduce(np.maximum, (window for _, window in windows)).astype(np.int64)


def _mean(graph: Graph, op: ops.Mean, x: Values) -> Int64[np.ndarray, "n ..."]:
    count, multiplier, shift = mean_constants(graph, op)
    total = x.astype(np.int64).sum(axis=op.axes, keepdims=True)
    total -= count * quantization_of(graph, op.input).zero_point
    scaled = requantize(total, multiplier=multiplier, shift=shift)
    return scaled + quantization_of(graph, op.output).zero_point


def _add(graph: Graph, op: ops.Add, x: Values, y: Values) -> Int64[np.ndarray, "n ..."]:
    constants = add_constants(graph, op)
    total = np.zeros(x.shape, np.int64)
    for value, name, multiplier, shift in zip(
        (x, y), (op.input, op.other), constants.multiplier, constants.shift, strict=True
    ):
        raised = (value.astype(np.int64) - quantization_of(graph, name).zero_point) << 20
        total += requantize(raised, multiplier=multiplier, shift=shift)
    result = requantize(total, multiplier=constants.output_multiplier, shift=constants.output_shift)
    return result + quantization_of(graph, op.output).zero_point


def _move(
    graph: Graph, op: ops.Pad | ops.ResizeNearest | ops.Reshape, x: Values
) -> Int64[np.ndarray, "n ..."]:
    wide = x.astype(np.int64)
    if isinstance(op, ops.Reshape):
        return wide.reshape(len(x), *op.shape[1:])
    if isinstance(op, ops.Pad):
        return np.pad(wide, [(0, 0), *op.amounts], constant_values=pad_value(graph, op))
    flags = {"align_corners": op.align_corners, "half_pixel_centers": op.half_pixel_centers}
    rows, columns = (
        nearest_indices(size, target, **flags) for size, target in zip(x.shape[1:3], op.size, strict=True)
    )
    return wide[:, rows][:, :, columns]


def _requantize(graph: Graph, op: ops.Requantize, x: Values) -> Int64[np.ndarray, "n ..."]:
    multiplier, shift = requantize_constants(graph, op)
    centred = x.astype(np.int64) - quantization_of(graph, op.input).zero_point
    scaled = requantize(centred, multiplier=multiplier, shift=shift)
    return scaled + quantization_of(graph, op.output).zero_point


def _softmax(graph: Graph, op: ops.Softmax, x: Values) -> Int64[np.ndarray, "n ..."]:
    wide = x.astype(np.int64)
    table = softmax_table(quantization_of(graph, op.input).scale, op.beta).astype(np.int64)
    return normalise(table[wide.max(axis=-1, keepdims=True) - wide]) + SOFTMAX_ZERO_POINT
