"""What TensorFlow Lite Micro would need for the activations of a network: its greedy planner, no aliases.

The published networks put an explicit PAD before every convolution, also before
1x1, where it copies; no kernel works in place. Tensors are placed first-fit,
the largest first (`GreedyMemoryPlanner`). This is the head of TFLM's arena. Its
tail, 8 bytes a channel and 14 to 37 KiB of structures (fitted to five published
rows), comes on top and belongs to the reserve.
"""

from triptych.graph.arena import by_size, plan_arena
from triptych.graph.lifetime import Lifetime, lower_bound, peak_of
from triptych.graph.ops import Conv2D, DepthwiseConv2D, Graph, inputs_of


def tflm_head(graph: Graph) -> int:
    """Bytes of the activations of an int8 network, of which only shapes are read."""
    spans = tflm_lifetimes(graph)
    return peak_of(spans, plan_arena(spans, [by_size]))


def tflm_bound(graph: Graph) -> int:
    """The most bytes alive during one operator, PAD included; no allocator needs less."""
    return lower_bound(tflm_lifetimes(graph))


def tflm_lifetimes(graph: Graph) -> list[Lifetime]:
    """Lifetimes of the tensors, those that PAD writes included, in steps of TFLM's own operators."""
    step = 0
    made, read, sizes = {graph.input: 0}, {graph.input: 0}, {graph.input: graph[graph.input].size}
    for op in graph.ops:
        inputs = inputs_of(op)
        if isinstance(op, Conv2D | DepthwiseConv2D):
            padded = f"padding of {op.output}"
            made[padded], sizes[padded] = step, padded_size(op, graph)
            read[op.input] = step
            inputs, step = (padded,), step + 1
        read |= dict.fromkeys(inputs, step)
        made[op.output], sizes[op.output] = step, graph[op.output].size
        step += 1
    read[graph.output] = step - 1
    return [Lifetime(name, size, made[name], read[name]) for name, size in sizes.items()]


def padded_size(op: Conv2D | DepthwiseConv2D, graph: Graph) -> int:
    """Bytes of the input with `kernel // 2` pixels around it."""
    _, height, width, channels = graph[op.input].shape
    _, rows, columns, _ = op.weight.shape
    return (height + rows // 2 * 2) * (width + columns // 2 * 2) * channels
