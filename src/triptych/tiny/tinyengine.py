"""What TinyEngine, the runtime of MCUNet, would need for a network: its own memory model.

Its scheduler places the activations first-fit, the largest first, and adds two
buffers: `mit-han-lab/tinyengine` at 47bb283, `GeneralMemoryScheduler.py` and
`allocator/firstFit.py`. Depthwise convolutions overwrite their input, and what
they leave is counted as `ceil(input / stride**2)`. For odd heights under stride
2 that is less than the kernel writes (11 x 11 to 6 x 6); we count as TinyEngine
does, and our own planner counts what is written.
"""

from dataclasses import dataclass, replace

from triptych.graph.arena import by_size, plan_arena
from triptych.graph.lifetime import Lifetime, lower_bound, peak_of
from triptych.graph.memory import lifetimes
from triptych.graph.ops import Add, Conv2D, DepthwiseConv2D, Graph, Op

FLASH_PER_CHANNEL = 8  # int32 bias, float32 scale


@dataclass(frozen=True)
class TinyEngineMemory:
    """Bytes of an int8 network under TinyEngine."""

    activations: int  # by its first-fit
    activations_bound: int  # alive during one operator; no allocator needs less
    sbuf: int  # columns of convolutions and padded planes of depthwise, shared
    kbuf: int  # int16 copy of the weights of the largest spatial convolution
    flash: int  # weights, biases and scales, without code

    @property
    def peak(self) -> int:
        """Peak SRAM."""
        return self.activations + self.sbuf + self.kbuf


def tinyengine_memory(graph: Graph) -> TinyEngineMemory:
    """Schedule `graph`, of which only shapes are read, as TinyEngine does."""
    spans = [_as_tinyengine(span, graph) for span in lifetimes(graph) if span.name in graph.tensors]
    return TinyEngineMemory(
        activations=peak_of(spans, plan_arena(spans, [by_size])),
        activations_bound=lower_bound(spans),
        sbuf=max(sbuf(op, graph) for op in graph.ops),
        kbuf=max(kbuf(op) for op in graph.ops),
        flash=sum(op.weight.size + FLASH_PER_CHANNEL * op.bias.size for op in graph.weighted()),
    )


def sbuf(op: Op, graph: Graph) -> int:
    """Two int16 columns for a convolution, a padded int16 plane for a depthwise one."""
    if isinstance(op, Conv2D):
        return 4 * op.weight[0].size
    if isinstance(op, DepthwiseConv2D):
        _, height, width, _ = graph[op.input].shape
        padding = op.weight.shape[1] // 2 * 2
        return 2 * (height + padding) * (width + padding)
    return 0


def kbuf(op: Op) -> int:
    """int16 weights of a convolution that is wider than one pixel."""
    return 2 * op.weight.size if isinstance(op, Conv2D) and op.weight.shape[1] > 1 else 0


def _as_tinyengine(span: Lifetime, graph: Graph) -> Lifetime:
    op = next((op for op in graph.ops if op.output == span.name), None)
    span = replace(span, overlap=None)  # its convolutions write beside their input
    if isinstance(op, Add):
        return replace(span, alias=None)  # its Add writes a new tensor
    if isinstance(op, DepthwiseConv2D):
        return replace(span, size=-(-graph[op.input].size // (op.stride[0] * op.stride[1])))
    return span
