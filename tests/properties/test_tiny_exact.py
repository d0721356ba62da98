from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subnets import EVEN, SPACE

from triptych.tiny.arch import SearchSpace
from triptych.tiny.cost import Limits
from triptych.tiny.exact import Memory, fitting
from triptych.tiny.tables import CostTables

TABLES = {space: CostTables(space) for space in (SPACE, EVEN)}
CODES = np.array(list(product(*(range(table.shape[1]) for table in TABLES[SPACE].tables))))
COSTS = {space: tables.costs(CODES) for space, tables in TABLES.items()}
LAW = np.array([np.prod(law) for law in product(*TABLES[SPACE].law())])


@pytest.mark.parametrize("memory", ["ours", "tinyengine"])
@pytest.mark.parametrize("space", [SPACE, EVEN], ids=["odd", "even"])
def test_the_exact_share_and_mean_are_those_of_all_subnets(space: SearchSpace, memory: Memory):
    """Every subnet counted one by one; nothing may get lost where TinyEngine's two maxima meet."""
    costs = COSTS[space]
    ours = memory == "ours"
    srams, flashes = (costs.arena, costs.flash) if ours else (costs.tinyengine_bound, costs.tinyengine_flash)

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
