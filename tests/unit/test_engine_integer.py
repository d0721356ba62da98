"""Constants of the integer network, and networks whose arithmetic is refused."""

from dataclasses import replace

import numpy as np
import pytest
from networks import example_graph

from triptych.engine.emit import emit
from triptych.engine.integer import add_constants, clamp_range, requantization
from triptych.errors import UnsupportedError
from triptych.graph.ops import Add, Conv2D, Graph, Quantization


def with_stem(**fields) -> tuple[Graph, Conv2D]:
    graph = example_graph()
    stem = graph.ops[0]
    assert isinstance(stem, Conv2D)
    stem = replace(stem, **fields)
    return replace(graph, ops=(stem, *graph.ops[1:])), stem


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "expected"),
    [
        ("none", 0.1, 5, (-128, 127)),
        ("relu", 0.1, 5, (5, 127)),
        ("relu6", 0.1, -60, (-60, 0)),
        ("relu6", 0.01, -128, (-128, 127)),
    ],
)
def test_fused_activations_are_clamps_in_output_units(activation, scale, zero_point, expected):
    """ReLU6 clamps at the integer that stands for 6, or not at all where int8 ends before."""
    assert clamp_range(activation, Quantization(scale, zero_point)) == expected


def test_biases_that_could_overflow_are_refused_by_channel():
    """MLPerf's VWW has biases of 2**30 in dead channels; overflow is undefined in C."""
    bias = np.zeros(8, np.int32)
    bias[3] = 2**31 - 1000
    graph, stem = with_stem(bias=bias)
    with pytest.raises(UnsupportedError, match=r"operator 'stem': channel 3 \(bias 2147482648, shift"):
        requantization(graph, stem)
    with pytest.raises(UnsupportedError, match="overflow int32"):
        emit(graph)


def test_large_factors_shrink_the_allowed_accumulator():
    """A left shift multiplies the accumulator before it is rounded."""
    graph, stem = with_stem(weight_scale=np.full(8, 1e4, np.float32))
    with pytest.raises(UnsupportedError, match="channel 0"):
        requantization(graph, stem)


def test_scales_beyond_float32_are_refused():
    """An infinite factor times an accumulator of zero is no number: a dead channel would answer anything."""
    graph, stem = with_stem(weight_scale=np.full(8, 3e38, np.float32), bias=np.zeros(8, np.int32))
    tensors = {**graph.tensors, stem.output: replace(graph[stem.output], quantization=Quantization(1e-30, 0))}
    with pytest.raises(UnsupportedError, match="lie further apart than float32 holds"):
        requantization(replace(graph, tensors=tensors), stem)


def test_sums_finer_than_the_headroom_are_refused():
    """TFLite's Add has 20 bits of headroom and no factor above one."""
    graph = example_graph()
    tensors = {**graph.tensors, "sum": replace(graph["sum"], quantization=Quantization(1e-9, 0))}
    add = graph.ops[4]
    assert isinstance(add, Add)
    with pytest.raises(UnsupportedError, match="operator 'add': output scale"):
        add_constants(replace(graph, tensors=tensors), add)


def test_names_from_a_file_cannot_leave_their_comment():
    """A tensor's name is untrusted text inside generated C."""
    graph = example_graph()
    add = replace(graph.ops[4], name='x */ int evil; /* "\n#include <stdio.h>\\')
    source = emit(replace(graph, ops=(*graph.ops[:4], add, *graph.ops[5:])))["model.c"]
    assert "evil;" in source
    assert "*/ int" not in source
    assert "stdio" not in source.replace("_include__stdio.h_", "")
