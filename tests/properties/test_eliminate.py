"""Constant channels leave the network, and no output byte changes."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import example_graph, graphs, inputs_of_size

from triptych.engine.eliminate import eliminate_constant_channels
from triptych.engine.intervals import intervals
from triptych.engine.reference import run, run_all
from triptych.errors import UnsupportedError
from triptych.graph.cost import count_macs
from triptych.graph.ops import Conv2D, DepthwiseConv2D, FullyConnected, Graph, Op
from triptych.graph.validate import validate


def deaden(op: Op, rng: np.random.Generator) -> Op:
    """`op` with some channels that give one value: no weights, or a bias that drowns them."""
    if not isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected):
        return op
    channels = len(op.bias)
    weight, bias = op.weight.copy(), op.bias.copy()
    axis = 3 if isinstance(op, DepthwiseConv2D) else 0
    np.moveaxis(weight, axis, 0)[rng.random(channels) < 0.3] = 0
    drowned = rng.random(channels) < 0.3
    bias[drowned] = rng.choice([-1, 1], channels)[drowned] * 2**24
    return replace(op, weight=weight, bias=bias)


@st.composite
def half_dead(draw) -> Graph:
    """Random networks, about half of whose channels are constant."""
    graph, rng = draw(graphs()), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return replace(graph, ops=tuple(deaden(op, rng) for op in graph.ops))


def eliminated(graph: Graph, **how) -> Graph:
    try:
        return eliminate_constant_channels(graph, **how)
    except UnsupportedError:
        assume(False)
        raise


@settings(max_examples=60, deadline=None)
@given(half_dead(), st.sampled_from(["tflite", "single"]), st.sampled_from([1, 4]))
def test_outputs_stay_the_same_byte_for_byte(graph: Graph, rounding, multiple: int):
    """The claim of `engine/eliminate.py`, on networks where much can go, in both roundings."""
    images = inputs_of_size(graph, 16)
    smaller = validate(eliminated(graph, rounding=rounding, multiple=multiple))
    expected = run(graph, images, rounding=rounding)
    np.testing.assert_array_equal(run(smaller, images, rounding=rounding), expected)
    assert count_macs(smaller) <= count_macs(graph)


@settings(max_examples=30, deadline=None)
@given(half_dead())
def test_intervals_enclose_every_value(graph: Graph):
    """A channel that is called constant and is not would change outputs for inputs nobody tried."""
    eliminated(graph)
    images = inputs_of_size(graph, 16)
    found = intervals(graph)
    for name, values in run_all(graph, images).items():
        least, largest = found[name]
        assert ((values >= least) & (values <= largest)).all()


def test_a_dead_expansion_leaves_with_its_weights():
    """Three layers lose a third: the expansion's channel, its depthwise, and the projection's column."""
    graph = example_graph()
    expand, depthwise = graph.ops[1], graph.ops[2]
    assert isinstance(expand, Conv2D)
    assert isinstance(depthwise, DepthwiseConv2D)
    dead = np.arange(24) % 3 == 0
    bias = np.where(dead, -(2**24), expand.bias).astype(np.int32)  # below zero: ReLU gives the zero point
    ops = (graph.ops[0], replace(expand, bias=bias), *graph.ops[2:])
    smaller = eliminate_constant_channels(replace(graph, ops=ops))
    shapes = [op.weight.shape for op in smaller.ops[1:4] if isinstance(op, Conv2D | DepthwiseConv2D)]
    assert shapes == [(16, 1, 1, 8), (1, 3, 3, 16), (8, 1, 1, 16)]


def test_a_constant_that_padding_breaks_stays():
    """The border of a padded window sees the zero point instead: no bias can stand for that."""
    graph = example_graph()
    expand = graph.ops[1]
    assert isinstance(expand, Conv2D)
    bias = np.where(np.arange(24) < 12, 2**24, expand.bias).astype(np.int32)  # 127, not the zero point
    altered = replace(graph, ops=(graph.ops[0], replace(expand, bias=bias), *graph.ops[2:]))
    assert eliminate_constant_channels(altered) is altered


def test_networks_without_constant_channels_stay_as_they_are():
    """Nothing to gain, nothing to change."""
    graph = example_graph()
    assert eliminate_constant_channels(graph) is graph
