import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from subnets import SPACE, archs

from triptych.errors import DataError
from triptych.graph.cost import count_macs, signature
from triptych.tiny.arch import ArchConfig
from triptych.tiny.cost import subnet_cost
from triptych.tiny.export import shape_graph
from triptych.tiny.latency import covering, instructions, read_table

GRAPHS = [shape_graph(SPACE, arch) for arch in covering(SPACE)]
KNOWN = {signature(op, graph) for graph in GRAPHS for op in graph.ops}


@settings(max_examples=60, deadline=None)
@given(archs(SPACE))
def test_a_few_subnets_have_every_kind_of_layer(arch: ArchConfig):
    """One missing kind, and the search stops at the first subnet that has it."""
    graph = shape_graph(SPACE, arch)
    assert {signature(op, graph) for op in graph.ops} <= KNOWN
    assert len(GRAPHS) == 6


def test_instructions_are_the_sum_over_layers():
    """With MACs in the place of instructions the sum must be the network's MACs."""
    table: dict[str, int] = {}
    for graph in GRAPHS:
        for op in graph.ops:
            alone = [op] if op in list(graph.weighted()) else []
            part = type(graph)(graph.input, graph.output, graph.tensors, tuple(alone))
            table[signature(op, graph)] = count_macs(part)
    arch = SPACE.smallest()
    assert instructions(shape_graph(SPACE, arch), table) == subnet_cost(SPACE, arch).macs
    assert subnet_cost(SPACE, arch, table).instructions == subnet_cost(SPACE, arch).macs


def test_a_layer_that_was_never_measured_is_named():
    """A guess of zero would make the unknown layer the search's favourite."""
    with pytest.raises(DataError, match=r"no count for 'Conv2D, .*covering"):
        instructions(GRAPHS[0], {})


def test_a_file_of_anything_else_is_refused(tmp_path: Path):
    """Times as text, or another stage's JSON."""
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"Conv2D": "fast"}))
    with pytest.raises(DataError, match=r"not a table of instructions"):
        read_table(path)
    path.write_text(json.dumps({"Conv2D": 3}))
    assert read_table(path) == {"Conv2D": 3}
