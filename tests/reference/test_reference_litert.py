"""Our integer arithmetic against LiteRT, byte for byte."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from networks import example_graph, graphs, inputs_of_size

from triptych.engine.oracle import run_litert
from triptych.engine.reference import run
from triptych.errors import UnsupportedError
from triptych.graph.ops import Graph
from triptych.graph.tflite import write_tflite


def reference_or_refused(graph: Graph, images: np.ndarray, **how) -> np.ndarray:
    """The reference's outputs; networks that the engine refuses (overflow) are not examples."""
    try:
        return run(graph, images, **how)
    except UnsupportedError:
        assume(False)
        raise


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_reference_equals_litert_reference_kernels(graph: Graph):
    """Equality with the kernels that define TFLite is the claim; 'close' hides rounding bugs."""
    images = inputs_of_size(graph, 8)
    expected = reference_or_refused(graph, images)
    np.testing.assert_array_equal(run_litert(write_tflite(graph), images), expected)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(graphs(bits=(8,)))
def test_single_rounding_equals_xnnpack_on_whole_networks(graph: Graph):
    """Every operator that rounds, one after the other, each difference would spread."""
    images = inputs_of_size(graph, 8)
    expected = reference_or_refused(graph, images, rounding="single")
    theirs = run_litert(write_tflite(graph), images, kernels="xnnpack")
    np.testing.assert_array_equal(theirs.reshape(expected.shape), expected)


def test_single_rounding_is_what_xnnpack_does():
    """The fast mode's oracle; XNNPACK computes in floating point, so exact ties may fall one step apart."""
    graph = example_graph()
    graph = replace(graph, ops=graph.ops[:4], output="thin")
    graph = replace(graph, tensors={op: graph[op] for op in ("image", "stem", "wide", "deep", "thin")})
    images = inputs_of_size(graph, 200)
    theirs = run_litert(write_tflite(graph), images, kernels="xnnpack").astype(int)
    differs = {rounding: theirs != run(graph, images, rounding=rounding) for rounding in ("single", "tflite")}
    assert differs["single"].mean() < 1e-4
    assert differs["tflite"].mean() > 1e-3
