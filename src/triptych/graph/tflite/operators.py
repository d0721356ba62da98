# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""One function an operator: from the file's description to the graph's."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from triptych.errors import DataError, UnsupportedError
from triptych.graph.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Pair,
    Pool,
    Quantization,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
)
from triptych.graph.tflite.source import Source
from triptych.graph.tflite.tables import ACTIVATION, CODE, PADDING, Node

K = TypeVar("K", bound=str)
Common = dict[str, Any]  # name, input and output of the operator
Read = Callable[[Source, Node, Common], Op]
SOFTMAX_GRID = Quantization(1 / 256, -128)


def read_padding(source: Source, operator: Node, name: str) -> tuple[Pair, Pair, Pair]:
    """Rows, columns and channels that a PAD adds before and after."""
    index, axes = int(operator.inputs[0]), ((0, 0), (1, 1), (2, 2), (3, 3))
    amounts = source.integers(operator, 1, name)
    pairs = list(zip(amounts[::2], amounts[1::2], strict=False))
    if len(source.shape(index)) != len(axes) or len(amounts) != 2 * len(axes) or pairs[0] != (0, 0):
        raise UnsupportedError(
            f"operator {name!r} pads {list(source.shape(index))} by {amounts}; rows, columns and channels of "
            "an image are implemented"
        )
    if min(amounts) < 0:
        raise DataError(f"operator {name!r} pads by {amounts}, less than nothing")
    return pairs[1], pairs[2], pairs[3]


def _activation(options: Node, name: str) -> dict[str, Any]:
    return {"activation": _key(ACTIVATION, options.fusedActivationFunction, name, "activation")}


def _key(table: dict[K, int], value: int, name: str, what: str) -> K:
    for key, number in table.items():
        if number == value:
            return key
    raise UnsupportedError(f"operator {name!r} has {what} {value}; implemented: {', '.join(table)}")


def _window(options: Node, name: str) -> dict[str, Any]:
    dilation = (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1))
    if dilation != (1, 1):
        raise UnsupportedError(f"operator {name!r} has dilation {dilation}; only 1 is implemented")
    padding = _key(PADDING, options.padding, name, "padding")
    return {"padding": padding, "stride": (options.strideH, options.strideW)}


def _same_grid(source: Source, operator: Node, name: str) -> None:
    """Refuse an operator that moves values from one grid to another: nobody rescales them."""
    indices = int(operator.inputs[0]), int(operator.outputs[0])
    grids = [source.activation(index, name).quantization for index in indices]
    if grids[0] != grids[1]:
        raise UnsupportedError(
            f"operator {name!r} moves values from {grids[0]} to {grids[1]}; one quantization is implemented"
        )


def _weights(source: Source, operator: Node, name: str, axis: int, rank: int) -> dict[str, Any]:
    at = int(operator.inputs[1])
    weight, bits = source.weight(at, name)
    quantization = source.main.tensors[at].quantization
    if len(weight.shape) != rank or np.any(quantization.zeroPoint):
        raise UnsupportedError(
            f"operator {name!r} has weights of shape {list(weight.shape)} with zero points "
            f"{np.unique(quantization.zeroPoint).tolist()}; rank {rank} and symmetric weights are implemented"
        )
    scales = np.asarray(quantization.scale, np.float32)
    if len(scales) > 1 and quantization.quantizedDimension != axis:
        raise UnsupportedError(
            f"operator {name!r} quantizes axis {quantization.quantizedDimension} of its weights; "
            f"axis {axis} is implemented"
        )
    if not len(scales) or not np.all((scales >= 0) & np.isfinite(scales)):
        raise DataError(f"operator {name!r} has weights with scales {scales[:4].tolist()}")
    channels = weight.shape[axis]
    has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
    source.budget.take(8 * channels)
    bias = (
        source.constant(int(operator.inputs[2]), np.int32, name) if has_bias else np.zeros(channels, np.int32)
    )
    if rank == 4 and len(scales) == 1:
        scales = np.repeat(scales, channels)
    return {"weight": weight, "bias": bias, "weight_scale": scales, "weight_bits": bits}


def _convolution(
    kind: type[Conv2D | DepthwiseConv2D], axis: int, source: Source, operator: Node, common: Common
) -> Op:
    options, name = operator.builtinOptions, common["name"]
    weights = _weights(source, operator, name, axis, 4)
    if kind is DepthwiseConv2D and options.depthMultiplier > 1:
        raise UnsupportedError(
            f"operator {name!r} has depth multiplier {options.depthMultiplier}; only 1 is implemented"
        )
    return kind(**common, **_window(options, name), **_activation(options, name), **weights)


def _fully_connected(source: Source, operator: Node, common: Common) -> Op:
    options, name = operator.builtinOptions, common["name"]
    if options.weightsFormat != 0:
        raise UnsupportedError(
            f"operator {name!r} has weights format {options.weightsFormat}; 0 is implemented"
        )
    weights = _weights(source, operator, name, 0, 2)
    return FullyConnected(**common, **weights, **_activation(options, name), keep_dims=options.keepNumDims)


def _add(source: Source, operator: Node, common: Common) -> Op:
    other = source.names[source.input(operator, 1)]
    return Add(**common, other=other, **_activation(operator.builtinOptions, common["name"]))


def _pool(kind: type[Pool], source: Source, operator: Node, common: Common) -> Op:
    options, name = operator.builtinOptions, common["name"]
    _same_grid(source, operator, name)
    window = (options.filterHeight, options.filterWidth)
    return kind(**common, **_window(options, name), **_activation(options, name), window=window)


def _mean(source: Source, operator: Node, common: Common) -> Op:
    name, output = common["name"], int(operator.outputs[0])
    layout = source.layout(int(operator.inputs[0]))
    axes = source.integers(operator, 1, name)
    if not all(-len(layout) <= axis < len(layout) for axis in axes):
        raise DataError(f"operator {name!r} averages axes {axes} of {len(layout)}")
    averaged = {layout[axis] for axis in axes}
    if not averaged or not averaged <= {1, 2}:
        raise UnsupportedError(f"operator {name!r} averages axes {axes}; rows and columns are implemented")
    kept = operator.builtinOptions.keepDims
    source.layouts[output] = layout if kept else tuple(axis for axis in layout if axis not in averaged)
    return Mean(**common, axes=tuple(sorted(averaged)))


def _pad(source: Source, operator: Node, common: Common) -> Op:
    name = common["name"]
    _same_grid(source, operator, name)
    value = None
    if source.code(operator) == CODE.PADV2:
        index = source.input(operator, 2)
        values = source.constant(index, np.int8, name)
        grid, own = (source.activation(at, name).quantization for at in (int(operator.outputs[0]), index))
        if values.size != 1 or grid != own:
            raise UnsupportedError(
                f"operator {name!r} pads with {values.size} values in {own}; one value in its output's "
                f"{grid} is implemented"
            )
        value = int(values.ravel()[0])
    return Pad(**common, amounts=read_padding(source, operator, name), value=value)


def _resize(source: Source, operator: Node, common: Common) -> Op:
    name, options = common["name"], operator.builtinOptions
    _same_grid(source, operator, name)
    size = source.integers(operator, 1, name)
    if len(size) != 2:
        raise DataError(f"operator {name!r} resizes to {size}, not to a height and a width")
    return ResizeNearest(
        **common,
        size=(size[0], size[1]),
        align_corners=options.alignCorners,
        half_pixel_centers=options.halfPixelCenters,
    )


def _softmax(source: Source, operator: Node, common: Common) -> Op:
    grid = source.activation(int(operator.outputs[0]), common["name"]).quantization
    beta = float(operator.builtinOptions.beta)
    if grid != SOFTMAX_GRID or not 0 < beta < 2.0**20:
        raise UnsupportedError(
            f"operator {common['name']!r} is a softmax of beta {beta} in {grid}; a positive beta in "
            f"{SOFTMAX_GRID} is implemented"
        )
    return Softmax(**common, beta=beta)


def _requantize(source: Source, operator: Node, common: Common) -> Op:
    return Requantize(**common)


def _reshape(source: Source, operator: Node, common: Common) -> Op:
    name = common["name"]
    _same_grid(source, operator, name)
    size = math.prod(source.shape(int(operator.inputs[0])))
    return Reshape(**common, shape=reshape_target(source, operator, name, size))


def reshape_target(source: Source, operator: Node, name: str, size: int) -> tuple[int, ...]:
    """The shape that a RESHAPE asks for; one -1 stands for what is left of `size` values."""
    if len(operator.inputs) > 1:
        wanted = source.integers(operator, 1, name)
    elif operator.builtinOptions is not None:
        wanted = [int(axis) for axis in operator.builtinOptions.newShape]
    else:
        raise DataError(f"operator {name!r} reshapes to nothing")
    known = -math.prod(wanted) if wanted.count(-1) == 1 else 0
    if known > 0:
        wanted[wanted.index(-1)] = size // known
    return tuple(wanted)


READERS: dict[int, Read] = {
    CODE.CONV_2D: partial(_convolution, Conv2D, 0),
    CODE.DEPTHWISE_CONV_2D: partial(_convolution, DepthwiseConv2D, 3),
    CODE.FULLY_CONNECTED: _fully_connected,
    CODE.ADD: _add,
    CODE.AVERAGE_POOL_2D: partial(_pool, AveragePool2D),
    CODE.MAX_POOL_2D: partial(_pool, MaxPool2D),
    CODE.MEAN: _mean,
    CODE.PAD: _pad,
    CODE.PADV2: _pad,
    CODE.RESIZE_NEAREST_NEIGHBOR: _resize,
    CODE.SOFTMAX: _softmax,
    CODE.QUANTIZE: _requantize,
    CODE.RESHAPE: _reshape,
}
