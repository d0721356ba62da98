"""The file between quantization and engine loses nothing."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from networks import graphs

from triptych.graph.ops import Graph, Op, Weighted
from triptych.graph.tflite import read_tflite, write_tflite


def same(a: Op, b: Op) -> bool:
    """Equality of operators whose fields may be arrays; names of operators are not in the format."""
    return type(a) is type(b) and all(
        np.array_equal(value, getattr(b, key)) for key, value in vars(replace(a, name=b.name)).items()
    )


@settings(max_examples=50)
@given(graphs())
def test_reading_back_gives_the_same_network(graph: Graph):
    """The firmware is generated from the file: what the file loses, the board computes wrongly."""
    again = read_tflite(write_tflite(graph))
    assert (again.input, again.output, again.tensors) == (graph.input, graph.output, graph.tensors)
    assert all(same(a, b) for a, b in zip(graph.ops, again.ops, strict=True))


@settings(max_examples=20)
@given(graphs())
def test_file_is_deterministic_and_its_constants_are_aligned(graph: Graph):
    """DVC compares files by content; microcontrollers trap on unaligned int32."""
    content = write_tflite(graph)
    assert content == write_tflite(graph)
    for op in graph.ops:
        if isinstance(op, Weighted) and op.bias.nbytes >= 16:
            assert content.index(op.bias.tobytes()) % 16 == 0
