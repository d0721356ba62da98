"""Which layers of a network get generated code, and that code.

Layers of one shape share a function; each has a stream of constants. What no
function here covers stays with the portable C kernel: windows beyond the reach of
an immediate offset, or channels whose factor is above one half.
"""

from dataclasses import dataclass

from triptych.engine.integer import quantization_of
from triptych.engine.thumb import convolution, depthwise, matrix
from triptych.engine.thumb.assembly import MAX_OFFSET, Assembly, words
from triptych.engine.thumb.convolution import Convolution, Window
from triptych.engine.thumb.depthwise import Depthwise
from triptych.engine.thumb.finish import channels_of
from triptych.engine.thumb.matrix import Blocking, Shape
from triptych.graph.memory import CONV2D_MAX_TAPS
from triptych.graph.ops import Conv2D, DepthwiseConv2D, Graph, paddings_of

Kernel = Convolution | Depthwise


@dataclass(frozen=True)
class Layer:
    """One operator as a call of generated code."""

    kernel: Kernel
    stream: tuple[int, ...]


def layer_of(
    graph: Graph, op: Conv2D | DepthwiseConv2D, blocking: Blocking, *, backwards: bool = False
) -> Layer | None:
    """`op` as generated code, or None where the C kernel has to do it.

    `backwards` walks from the last pixel to the first, as the plan may demand.
    """
    channels = channels_of(graph, op)
    if channels is None:
        return None
    window, zero_point = window_of(graph, op), quantization_of(graph, op.input).zero_point
    if isinstance(op, DepthwiseConv2D):
        if not depthwise.suits(window):
            return None
        kernel = Depthwise(window, channels.clamp)
        return Layer(kernel, tuple(depthwise.stream_of(channels, kernel, zero_point)))
    order = convolution.tap_order(window)
    shape = Shape(len(order), len(op.bias), channels.clamp)
    if len(order) > CONV2D_MAX_TAPS or 3 * shape.channels >= MAX_OFFSET:
        return None
    head = [] if window.is_pixel else [(zero_point & 0xFF) * 0x01010101]
    stream = [*head, *matrix.stream_of(channels, order, blocking)]
    return Layer(Convolution(window, shape, blocking, backwards), tuple(stream))


def window_of(graph: Graph, op: Conv2D | DepthwiseConv2D) -> Window:
    """The window of `op` and what it slides over."""
    _, height, width, channels = graph[op.input].shape
    kernel = (int(op.weight.shape[1]), int(op.weight.shape[2]))
    above, left = (pair[0] for pair in paddings_of((height, width), kernel, op.stride, op.padding))
    output = graph[op.output].shape
    return Window((height, width), (output[1], output[2]), kernel, op.stride, (above, left), channels)


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
            kind = "depthwise" if isinstance(layer.kernel, Depthwise) else "convolution"
            name = self._names[layer.kernel] = f"model_{kind}_{len(self._names)}"
            if isinstance(layer.kernel, Depthwise):
                depthwise.emit_depthwise(self._code, name, layer.kernel)
            else:
                convolution.emit_convolution(self._code, name, layer.kernel)
        return name

    def text(self) -> str:
        """The file `model.S`."""
        self._code.lines += self._data
        self._data = []
        return self._code.text()
