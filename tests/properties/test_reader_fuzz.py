"""Damaged and hostile files: a slice of the campaign of `tests/fuzz.py`."""

import time
import tracemalloc
from copy import deepcopy
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from fuzz import compare, mutate, outcome, time_limit
from networks import example_graph, in_four_bits, moving_graph

from triptych.errors import DataError, UnsupportedError
from triptych.graph.ops import Graph
from triptych.graph.tflite import read_tflite, write_tflite

GRAPHS = {"example": example_graph(), "moving": moving_graph(), "int4": in_four_bits(example_graph(3))}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_mutated_files_end_in_a_typed_error_or_in_litert_s_answer(graph: Graph):
    """A file from elsewhere must never crash the generator, nor become firmware that computes otherwise."""
    content, accepted = write_tflite(graph), 0
    with time_limit(300):
        for number in range(150):
            mutated = mutate(content, np.random.default_rng([1, number]))
            name, read = outcome(mutated)
            if read and name == "accepted" and (accepted := accepted + 1) % 8 == 0:
                assert compare(mutated, read) != "DIFFERENT", f"case {number}"
    assert accepted > 8


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def bomb(operators: int, size: int) -> bytes:
    """A file whose `operators` convolutions share one weight of `size` bytes, their bias and their scales."""
    model: Any = schema.ModelT.InitFromPackedBuf(write_tflite(example_graph()), 0)
    main = model.subgraphs[0]
    weight = main.tensors[main.operators[0].inputs[1]]
    weight.shape = [1, 1, 1, size]
    model.buffers[weight.buffer].data = np.zeros(size, np.uint8)
    weight.quantization.scale, weight.quantization.zeroPoint = [1.0], [0]
    main.operators = [deepcopy(main.operators[0]) for _ in range(operators)]
    for number, operator in enumerate(main.operators):
        operator.outputs = [len(main.tensors)]
        tensor = deepcopy(main.tensors[0])
        tensor.name = f"t{number}"
        main.tensors.append(tensor)
    return packed(model)


@pytest.mark.parametrize(("operators", "size"), [(800, 1 << 20), (5000, 16)])
def test_files_that_point_to_one_place_again_and_again_cost_no_more_than_their_size(
    operators: int, size: int
):
    """Unpacked naively, the first takes a gigabyte."""
    content = bomb(operators, size)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises((DataError, UnsupportedError)):
        read_tflite(content)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * len(content) + (1 << 20)
    assert seconds < 30
