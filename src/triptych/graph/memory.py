"""Where every activation lives: the one model of peak SRAM, for search and for code generation.

What the kernels allow: depthwise and Add write over an input that dies there,
convolutions and pools partly so (`graph/overlap.py`). What is placed where, and the
bound that no placement beats: `graph/arena.py`, `graph/lifetime.py`.

Source: MCUNet (NeurIPS 2020), section 3.2, in-place depthwise.
"""

import math
from dataclasses import dataclass

from triptych.graph import int4
from triptych.graph.arena import plan_arena
from triptych.graph.lifetime import Lifetime, lower_bound, peak_of
from triptych.graph.ops import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    Op,
    Requantize,
    Reshape,
    Softmax,
    Tensor,
    inputs_of,
)
from triptych.graph.overlap import overlap_of

ALIGNMENT = 4  # of scratch, reached by the kernel itself
SMALL_PLANE = 1024  # bytes of a depthwise plane in int16 that is not worth halving
CONV2D_PIXELS = 4  # the most that a convolution widens at once
CONV2D_MAX_TAPS = 1364  # above, the plain C kernel, which needs no scratch


@dataclass(frozen=True)
class Plan:
    """Offsets in bytes from the start of the arena."""

    tensors: dict[str, int]
    scratch: dict[str, int]  # by the name of the operator's output
    lifetimes: tuple[Lifetime, ...]
    backwards: frozenset[str]  # outputs of the operators that must walk from the last pixel to the first
    peak: int  # bytes of the arena
    lower_bound: int  # no plan of these lifetimes is lower

    def offset(self, span: Lifetime) -> int:
        """Where `span`, one of `lifetimes`, begins."""
        scratch = {_scratch_of(output): at for output, at in self.scratch.items()}
        return (self.tensors | scratch)[span.name]


def plan(graph: Graph) -> Plan:
    """Place the activations and scratch of an int8 network; reads shapes alone."""
    spans = lifetimes(graph)
    at = plan_arena(spans)
    return Plan(
        tensors={name: at[name] for name in graph.tensors if name in at},
        scratch={op.output: at[scratch_name(op)] for op in graph.ops if scratch_name(op) in at},
        lifetimes=tuple(spans),
        backwards=frozenset(span.name for span in spans if _is_backwards(graph, span, at)),
        peak=peak_of(spans, at),
        lower_bound=lower_bound(spans),
    )


def lifetimes(graph: Graph) -> list[Lifetime]:
    """Lifetimes of the activations, the graph's input first, then of the scratch.

    The input may be overwritten once it was read for the last time; the output
    stays until the end.
    """
    end = len(graph.ops) - 1
    last = {graph.input: 0} | {op.output: index for index, op in enumerate(graph.ops)}
    for index, op in enumerate(graph.ops):
        last |= dict.fromkeys(inputs_of(op), index)
    last[graph.output] = end
    spans = [Lifetime(graph.input, graph[graph.input].size, 0, last[graph.input])]
    for index, op in enumerate(graph.ops):
        dying = [name for name in inputs_of(op) if last[name] == index and name != graph.output]
        alias = dying[0] if dying and in_place(op) else None
        overlap = overlap_of(graph, op) if dying else None
        spans.append(Lifetime(op.output, graph[op.output].size, index, last[op.output], alias, overlap))
    for index, op in enumerate(graph.ops):
        if size := scratch_size(op, graph[op.output]):
            spans.append(Lifetime(scratch_name(op), size, index, index))
    return spans


def _is_backwards(graph: Graph, span: Lifetime, at: dict[str, int]) -> bool:
    """Whether `span` begins inside an input that it overlaps."""
    if span.overlap is None:
        return False
    distance = at[span.name] - at[span.overlap.over]
    return span.overlap.above <= distance < graph[span.overlap.over].size


def in_place(op: Op) -> bool:
    """Whether the kernel of `op` may write its output over an input that dies there.

    Add, Requantize and Softmax read element i for the last time before they write it;
    Reshape moves nothing. Depthwise copies channel c to its scratch before it writes
    output (p, c) to address p*C + c, which belongs to channel c for every stride.
    """
    return isinstance(op, Add | DepthwiseConv2D | Requantize | Reshape | Softmax)


def scratch_size(op: Op, output: Tensor) -> int:
    """Bytes that the kernel of `op` needs besides tensors."""
    if isinstance(op, DepthwiseConv2D):
        kernel = (int(op.weight.shape[1]), int(op.weight.shape[2]))
        size = depthwise_scratch((output.shape[1], output.shape[2]), kernel, op.stride)
        return max(size, depthwise_widened(output, op)) if op.weight_bits == int4.BITS else size
    if isinstance(op, Conv2D):
        return conv2d_scratch(math.prod(op.weight.shape[1:]), reads_pixels=reads_pixels(op))
    return 0


def depthwise_widened(output: Tensor, op: DepthwiseConv2D) -> int:
    """The C kernel's channel plane and, behind it, the channel's weights of 4 bits, one a byte."""
    kernel = op.weight.shape[1:3]
    sides = ((n - 1) * step + k for n, k, step in zip(output.shape[1:3], kernel, op.stride, strict=True))
    return math.prod(sides) + math.prod(kernel)


def depthwise_scratch(output: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]) -> int:
    """A padded channel plane of int8 (the C kernel), or of int16 for the output rows of one band."""
    height, width = ((n - 1) * step + k for n, k, step in zip(output, kernel, stride, strict=True))
    line = 4 * -(-width // stride[1]) * stride[1]
    rows = (band_rows(output[0], kernel[0], stride[0], line) - 1) * stride[0] + kernel[0]
    return max(height * width, -(-rows // 2) * line) + ALIGNMENT - 1


def band_rows(output: int, kernel: int, stride: int, line: int) -> int:
    """Output rows of a depthwise convolution that are computed from one plane; a large plane is halved.

    line  bytes of a pair of plane rows in int16, columns in `stride` runs of one length
    """
    whole = ((output - 1) * stride + kernel + 1) // 2 * line
    return output if whole <= SMALL_PLANE or output < 4 else -(-output // 4) * 2


def conv2d_scratch(taps: int, *, reads_pixels: bool) -> int:
    """A group of pixels widened to int16, and their windows as columns unless a window is its pixel."""
    if taps > CONV2D_MAX_TAPS:
        return 0
    return CONV2D_PIXELS * -(-taps // 4) * 4 * (2 if reads_pixels else 3) + ALIGNMENT - 1


def reads_pixels(op: Conv2D) -> bool:
    """Whether the window of `op` is the pixel itself, in whole words."""
    plain = op.padding in ("same", "valid", ((0, 0), (0, 0)))
    return op.weight.shape[1:3] == (1, 1) and op.stride == (1, 1) and plain and op.weight.shape[3] % 4 == 0


def scratch_name(op: Op) -> str:
    """Name of the lifetime of the scratch of `op`."""
    return _scratch_of(op.output)


def _scratch_of(output: str) -> str:
    return f"scratch of {output}"
