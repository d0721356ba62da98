"""The benchmark's rivals compute the same bytes, and its profile loses no instruction."""

import pytest
from networks import example_graph, moving_graph

from benchmarks.engine import STYLES, compare
from triptych.graph.ops import Graph, Reshape


@pytest.mark.parametrize("graph", [example_graph(), moving_graph()], ids=["example", "moving"])
def test_rivals_are_exact_and_every_instruction_belongs_to_a_layer(graph: Graph):
    """A rival that computes something else, or a layer that hides instructions, would flatter us."""
    comparison = compare(graph, "network")  # raises where an output byte differs
    assert len(comparison.layers) == sum(not isinstance(op, Reshape) for op in graph.ops)
    for style in STYLES:
        per_layer = sum(layer.instructions[style] for layer in comparison.layers)
        assert per_layer <= comparison.instructions[style] <= per_layer + 32
