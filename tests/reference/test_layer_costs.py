"""Instructions per MAC of typical layers, against what hand-tuned code of the same arithmetic reached."""

from dataclasses import dataclass

import numpy as np
import pytest

from triptych.engine.thumb.convolution import Convolution
from triptych.engine.thumb.layers import emitted, kernels_of
from triptych.graph.cost import count_macs
from triptych.graph.ops import Conv2D, DepthwiseConv2D, Graph, Quantization, Tensor


@dataclass(frozen=True)
class Goal:
    """A layer and the most instructions per MAC, by the bits that a weight has in flash."""

    kind: type[Conv2D | DepthwiseConv2D]
    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int
    per_mac: dict[int, float]


GOALS = {  # of depthwise weights flash has 8 bits
    "1x1 16 to 96": Goal(Conv2D, 16, 96, 40, 1, 1, {16: 1.16, 8: 1.39, 4: 1.65}),
    "1x1 96 to 24": Goal(Conv2D, 96, 24, 40, 1, 1, {16: 0.83, 8: 0.99, 4: 1.12}),
    "1x1 240 to 48": Goal(Conv2D, 240, 48, 5, 1, 1, {16: 0.77, 8: 0.93}),
    "3x3 stride 2, 3 to 16": Goal(Conv2D, 3, 16, 80, 3, 2, {16: 1.18, 8: 1.51}),
    "3x3 32 to 32": Goal(Conv2D, 32, 32, 16, 3, 1, {16: 0.80, 8: 1.06}),
    "depthwise 3x3": Goal(DepthwiseConv2D, 96, 96, 40, 3, 1, {8: 2.06}),
    "depthwise 3x3 stride 2": Goal(DepthwiseConv2D, 96, 96, 40, 3, 2, {8: 3.11}),
    "depthwise 5x5": Goal(DepthwiseConv2D, 96, 96, 40, 5, 1, {8: 1.48}),
    "depthwise 7x7": Goal(DepthwiseConv2D, 96, 96, 40, 7, 1, {8: 1.24}),
}


def network(goal: Goal, bits: int) -> Graph:
    """The layer alone, SAME padding, no activation: every result may be negative, which costs most."""
    rng, size = np.random.default_rng(0), -(-goal.size // goal.stride)
    depthwise = goal.kind is DepthwiseConv2D
    shape = (1 if depthwise else goal.outputs, goal.kernel, goal.kernel, goal.inputs)
    largest = 7 if bits == 4 else 127
    tensors = {
        "x": Tensor("x", (1, goal.size, goal.size, goal.inputs), Quantization(0.0625, -128)),
        "y": Tensor("y", (1, size, size, goal.outputs), Quantization(0.0625, 3)),
    }
    scale = 1 / (largest * (goal.kernel**2 * (1 if depthwise else goal.inputs)) ** 0.5)
    op = goal.kind(
        name="y",
        input="x",
        output="y",
        weight=rng.integers(-largest, largest + 1, shape).astype(np.int8),
        bias=rng.integers(-500, 500, goal.outputs).astype(np.int32),
        weight_scale=np.full(goal.outputs, scale, np.float32),
        stride=(goal.stride, goal.stride),
        weight_bits=4 if bits == 4 else 8,
    )
    return Graph("x", "y", tensors, (op,))


@pytest.mark.parametrize(
    ("goal", "bits"),
    [(goal, bits) for goal in GOALS.values() for bits in goal.per_mac],
    ids=[f"{name}, {bits} bits" for name, goal in GOALS.items() for bits in goal.per_mac],
)
def test_layers_take_no_more_than_the_best_code_we_know(goal: Goal, bits: int):
    """Counts of the generator; `test_thumb_forms.py` shows that the simulator counts the same."""
    graph = network(goal, bits)
    forms = kernels_of(graph, graph.ops[0], backwards=False)
    counts = [
        emitted(form)[0] for form in forms if not isinstance(form, Convolution) or form.blocking.bits == bits
    ]
    assert round(min(counts) / count_macs(graph), 2) <= goal.per_mac[bits]
