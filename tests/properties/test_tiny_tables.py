from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from subnets import EVEN, SPACE, archs, generators

from triptych.graph.memory import plan
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.cost import subnet_cost
from triptych.tiny.export import shape_graph
from triptych.tiny.tables import Costs, CostTables
from triptych.tiny.tflm import tflm_bound, tflm_head
from triptych.tiny.tinyengine import tinyengine_memory
from triptych.tiny.zoo import published_space

MIX = replace(EVEN, mix_width=96)
PAPER = published_space(0.5, 176, 1000, mobilenetv2=False)
TABLES = {space: CostTables(space) for space in (SPACE, EVEN, MIX, PAPER)}


def agree(space: SearchSpace, arch: ArchConfig, costs: Costs, i: int) -> None:
    """Entry `i` of the tables against the graph of the subnet and the allocators' own accounts."""
    graph, scalar = shape_graph(space, arch), subnet_cost(space, arch)
    rival = tinyengine_memory(graph)
    expected = [scalar.macs, scalar.parameters, scalar.flash, plan(graph).lower_bound, rival.flash]
    found = [costs.macs, costs.parameters, costs.flash, costs.arena, costs.tinyengine_flash]
    assert [column[i] for column in found] == expected
    assert costs.tinyengine_bound[i] == rival.activations_bound + rival.sbuf + rival.kbuf
    assert costs.tflm_bound[i] == tflm_bound(graph) <= tflm_head(graph)
    assert costs.arena[i] <= scalar.peak_sram
    assert costs.tinyengine_bound[i] <= rival.peak


@pytest.mark.parametrize("space", [SPACE, EVEN, MIX], ids=["odd", "even", "mix"])
def test_tables_equal_the_graph(space: SearchSpace):
    """A search that trusts the tables trusts these numbers; the graph shares no code with them."""

    @settings(max_examples=60, deadline=None)
    @given(archs(space))
    def check(arch: ArchConfig) -> None:
        agree(space, arch, TABLES[space].costs(np.array([TABLES[space].encode(arch)])), 0)

    check()


def test_weights_of_4_bits_halve_what_flash_holds_of_them():
    """A limit on Flash admits other subnets than with 8 bits; the graph packs each layer by itself."""
    tables, rng = CostTables(PAPER, weight_bits=4), np.random.default_rng(1)
    arches = [PAPER.random(rng) for _ in range(10)]
    costs = tables.costs(np.array([tables.encode(arch) for arch in arches]))
    for i, arch in enumerate(arches):
        scalar = subnet_cost(PAPER, arch, weight_bits=4)
        assert (costs.flash[i], costs.macs[i], costs.parameters[i]) == (
            scalar.flash,
            scalar.macs,
            scalar.parameters,
        )
        assert costs.arena[i] <= scalar.peak_sram
        assert scalar.flash < 0.6 * subnet_cost(PAPER, arch).flash


def test_tables_equal_the_graph_in_the_papers_space():
    """Resolution 176 becomes odd at 11; every stage has the paper's three depths."""
    rng = np.random.default_rng(0)
    arches = [PAPER.random(rng) for _ in range(60)]
    costs = TABLES[PAPER].costs(np.array([TABLES[PAPER].encode(arch) for arch in arches]))
    for i, arch in enumerate(arches):
        agree(PAPER, arch, costs, i)


@settings(max_examples=10, deadline=None)
@given(generators())
def test_random_codes_are_subnets_whose_depths_are_uniform(rng: np.random.Generator):
    """Uniform codes would almost always be the deepest subnets, another law than the paper's sample."""
    codes = TABLES[SPACE].random(3000, rng)
    shallow = codes[:, 1] < 6  # of 6 + 36 + 216 codes
    assert abs(shallow.mean() - 1 / 3) < 0.05
    for column, table in zip(codes.T, TABLES[SPACE].tables, strict=True):
        assert column.max() < table.shape[1]
