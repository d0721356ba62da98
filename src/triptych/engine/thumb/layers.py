"""Which layers of a network get generated code, and that code.

Layers of one shape share a function; each has a stream of constants. What no
function here covers stays with the portable C kernel: windows beyond the reach of
an immediate offset, or channels whose factor is above one half.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from triptych.engine.integer import quantization_of
from triptych.engine.thumb import convolution, depthwise, matrix
from triptych.engine.thumb.add import SUM_STREAM, Sum, emit_sum, sum_of
from triptych.engine.thumb.assembly import MAX_OFFSET, Assembly, words
from triptych.engine.thumb.convolution import Convolution, Window
from triptych.engine.thumb.depthwise import Depthwise
from triptych.engine.thumb.finish import channels_of
from triptych.engine.thumb.matrix import Blocking, Shape
from triptych.graph import int4
from triptych.graph.memory import CONV2D_MAX_TAPS
from triptych.graph.ops import Add, Conv2D, DepthwiseConv2D, Graph, Op, paddings_of
from triptych.quantization.requantize import Rounding

UNROLLS = (3, 8, 24)  # steps of four taps
UNROLLED_MAP = 6  # rows and columns of output up to which a depthwise map may be unrolled whole
Kernel = Convolution | Depthwise | Sum


@dataclass(frozen=True)
class Layer:
    """One operator as a call of generated code."""

    kernel: Kernel
    stream: tuple[int, ...]
    source: str  # name of the first argument
    third: str | None  # name of the third; None for scratch


def kernels_of(graph: Graph, op: Op, *, backwards: bool, rounding: Rounding = "tflite") -> tuple[Kernel, ...]:
    """The forms in which `op` may be generated; none where the C kernel has to do it.

    `backwards` walks from the last pixel to the first, as the plan may demand.
    """
    match op:
        case Conv2D():
            return _convolutions(graph, op, rounding, backwards=backwards)
        case DepthwiseConv2D():
            return _depthwise(graph, cropped(graph, op), rounding)
        case Add():
            found = sum_of(graph, op, rounding)
            return (found[0],) if found else ()
        case _:
            return ()


def layer_of(graph: Graph, op: Op, kernel: Kernel, rounding: Rounding) -> Layer:
    """`op` as a call of `kernel`, one of its forms."""
    if isinstance(op, Add):
        found = sum_of(graph, op, rounding)
        assert found, "a sum has a form only where it has constants"
        return Layer(kernel, tuple(found[1]), *found[2])
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    zero_point = quantization_of(graph, op.input).zero_point
    if isinstance(op, DepthwiseConv2D):
        channels = channels_of(graph, cropped(graph, op), rounding)
        assert channels is not None
        assert isinstance(kernel, Depthwise)
        stream = depthwise.stream_of(channels, kernel, zero_point)
    else:
        channels = channels_of(graph, op, rounding)
        assert channels is not None
        assert isinstance(kernel, Convolution)
        head = [] if kernel.window.is_pixel else [(zero_point & 0xFF) * 0x01010101]
        order = convolution.tap_order(kernel.window)
        stream = [*head, *matrix.stream_of(channels, order, kernel.blocking)]
    return Layer(kernel, tuple(stream), op.input, None)


def _convolutions(graph: Graph, op: Conv2D, rounding: Rounding, *, backwards: bool) -> tuple[Kernel, ...]:
    channels, window = channels_of(graph, op, rounding), window_of(graph, op)
    taps = len(convolution.tap_order(window))
    if channels is None or taps > CONV2D_MAX_TAPS or 3 * len(op.bias) >= MAX_OFFSET:
        return ()
    shape = Shape(taps, len(op.bias), channels.clamp)
    blockings = [(16, 4), (16, 3), (8, 4), (8, 3)]
    if op.weight_bits == int4.BITS and abs(channels.weight).sum(axis=1).max() * 128 < matrix.MAX_INT4_SUM:
        blockings.append((int4.BITS, 3))
    return tuple(
        Convolution(window, shape, Blocking(bits, pixels, unroll), backwards)
        for bits, pixels in blockings
        for unroll in sorted({min(unroll, shape.steps) for unroll in UNROLLS})
    )


def _depthwise(graph: Graph, op: DepthwiseConv2D, rounding: Rounding) -> tuple[Kernel, ...]:
    channels, window = channels_of(graph, op, rounding), window_of(graph, op)
    if channels is None or not depthwise.suits(window):
        return ()
    zero_point = quantization_of(graph, op.input).zero_point
    uncentred = channels.bias + 2 * zero_point * channels.weight.sum(axis=1)
    short = bool(np.maximum(abs(channels.bias), abs(uncentred)).max() < 1 << 23)
    plain = Depthwise(window, channels.clamp, short)
    if max(window.output) > UNROLLED_MAP or not any(window.padded):
        return (plain,)
    return (plain, replace(plain, centred=zero_point))


def stream_bytes(kernel: Kernel) -> int:
    """Bytes of a layer's stream."""
    match kernel:
        case Convolution():
            return matrix.stream_bytes(kernel.shape, kernel.blocking) + (0 if kernel.window.is_pixel else 4)
        case Depthwise():
            height, width = kernel.window.kernel
            return 4 + kernel.window.channels * ((8 if kernel.short else 12) + width * -(-height // 4) * 4)
        case Sum():
            return SUM_STREAM


@lru_cache(maxsize=4096)
def emitted(kernel: Kernel) -> tuple[float, int]:
    """Instructions of one call of `kernel`, and bytes of its code at four an instruction."""
    code = Assembly()
    EMITTERS[type(kernel)][1](code, "f", kernel)
    return code.executed, 4 * code.instructions


def cropped(graph: Graph, op: DepthwiseConv2D) -> DepthwiseConv2D:
    """`op` without the rows and columns of its kernel that never meet the image: the same function."""
    size, kernel, output = graph[op.input].shape[1:3], op.weight.shape[1:3], graph[op.output].shape[1:3]
    paddings = paddings_of(size, kernel, op.stride, op.padding)
    spans, kept = [], []
    for n, k, out, stride, (before, after) in zip(size, kernel, output, op.stride, paddings, strict=True):
        first = max(0, before - (out - 1) * stride)
        end = min(k, n + before)
        if first >= end:  # no window meets the image
            first, end = 0, k
        spans.append((first, end))
        kept.append((before - first, after - (k - end)))
    (top, bottom), (left, right) = spans
    return replace(op, weight=op.weight[:, top:bottom, left:right], padding=(kept[0], kept[1]))


def window_of(graph: Graph, op: Conv2D | DepthwiseConv2D) -> Window:
    """The window of `op` and what it slides over."""
    _, height, width, channels = graph[op.input].shape
    kernel = (int(op.weight.shape[1]), int(op.weight.shape[2]))
    above, left = (pair[0] for pair in paddings_of((height, width), kernel, op.stride, op.padding))
    output = graph[op.output].shape
    return Window((height, width), (output[1], output[2]), kernel, op.stride, (above, left), channels)


EMITTERS: dict[type[Kernel], tuple[str, Callable[[Assembly, str, Any], None]]] = {
    Convolution: ("convolution", convolution.emit_convolution),
    Depthwise: ("depthwise", depthwise.emit_depthwise),
    Sum: ("sum", emit_sum),
}


class Program:
    """The generated functions of a network and the streams of its layers."""

    def __init__(self) -> None:
        self._names: dict[Kernel, str] = {}
        self._code, self._data = Assembly(), list[str]()

    def add(self, symbol: str, layer: Layer) -> str:
        """Add `layer`, with its stream under `symbol`; returns the name of its function."""
        self._data += words(symbol, layer.stream)
        name = self._names.get(layer.kernel)
        if name is None:
            kind, emit = EMITTERS[type(layer.kernel)]
            name = self._names[layer.kernel] = f"model_{kind}_{len(self._names)}"
            emit(self._code, name, layer.kernel)
        return name

    def text(self) -> str:
        """The file `model.S`."""
        self._code.lines += self._data
        self._data = []
        return self._code.text()
