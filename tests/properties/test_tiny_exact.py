from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subnets import EVEN, SPACE

from triptych.tiny.arch import SearchSpace
from triptych.tiny.cost import Limits
from triptych.tiny.exact import Memory, distribution, fitting
from triptych.tiny.front import front
from triptych.tiny.space import memory_of
from triptych.tiny.tables import CostTables

TABLES = {space: CostTables(space) for space in (SPACE, EVEN)}
CODES = np.array(list(product(*(range(table.shape[1]) for table in TABLES[SPACE].tables))))
COSTS = {space: tables.costs(CODES) for space, tables in TABLES.items()}
LAW = np.array([np.prod(law) for law in product(*TABLES[SPACE].law())])


@pytest.mark.parametrize("memory", ["ours", "tinyengine", "tflm"])
@pytest.mark.parametrize("space", [SPACE, EVEN], ids=["odd", "even"])
def test_the_exact_share_and_mean_are_those_of_all_subnets(space: SearchSpace, memory: Memory):
    """Every subnet counted one by one; nothing may get lost where TinyEngine's two maxima meet."""
    costs = COSTS[space]
    srams, flashes = memory_of(costs, memory)

    @settings(max_examples=3, deadline=None)
    @given(st.floats(0, 1), st.floats(0, 1))
    def check(sram: float, flash: float) -> None:
        limits = Limits(int(np.quantile(srams, sram)), int(np.quantile(flashes, flash)))
        fits = (srams <= limits.sram) & (flashes <= limits.flash)
        found = fitting(TABLES[space], limits, memory=memory, step=1)
        assert found.share == pytest.approx(LAW[fits].sum(), abs=1e-11)
        if fits.any():
            mean = np.average(costs.macs[fits], weights=LAW[fits])
            assert found.mean_macs == pytest.approx(mean, rel=1e-6)

    check()


@pytest.mark.parametrize("memory", ["ours", "tinyengine", "tflm"])
def test_the_distribution_is_that_of_all_subnets(memory: Memory):
    """The figure's curve, against every subnet counted; the grid may shift a step by a cell or two."""
    costs = COSTS[EVEN]
    sram, flash = memory_of(costs, memory)
    limits = Limits(int(np.quantile(sram, 0.7)), int(np.quantile(flash, 0.8)))
    fit = (sram <= limits.sram) & (flash <= limits.flash)
    found = distribution(TABLES[EVEN], limits, memory=memory, bins=(512, 1024))
    order = np.argsort(costs.macs[fit])
    heights = np.cumsum(LAW[fit][order]) / LAW[fit].sum()
    exact = np.interp(found.macs, costs.macs[fit][order], heights, left=0)
    assert np.abs(found.share - exact).mean() < 0.01
    assert found.share[-1] == pytest.approx(1)


@pytest.mark.parametrize("space", [SPACE, EVEN], ids=["odd", "even"])
def test_the_front_is_what_no_subnet_of_the_space_beats(space: SearchSpace):
    """All subnets against all: a front that misses one misleads whoever buys a board."""
    costs = COSTS[space]
    triples = np.unique(np.column_stack([costs.arena, costs.flash, -costs.macs]), axis=0)
    limits = Limits(int(np.quantile(costs.arena, 0.8)), int(np.quantile(costs.flash, 0.1)))
    triples = triples[(triples[:, 0] <= limits.sram) & (triples[:, 1] <= limits.flash)]
    not_beaten = [row for row in triples if ((triples <= row).all(1)).sum() == 1]
    found = front(TABLES[space], limits) * [1, 1, -1]
    assert {tuple(row) for row in found} == {tuple(row) for row in not_beaten}
    assert len(found) == len(not_beaten) > 10


def test_a_board_that_holds_nothing_has_no_front():
    """Empty, and no error: the stage has refused such a board already."""
    assert front(TABLES[SPACE], Limits(1, 1)).shape == (0, 3)
