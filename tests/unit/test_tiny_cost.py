import numpy as np
import pytest
from subnets import EVEN, SPACE

from triptych.config.tiny import BoardConfig, ReserveConfig, SpaceConfig
from triptych.errors import ConfigError
from triptych.tiny.arch import SearchSpace
from triptych.tiny.cost import Cost, Limits, board_limits, require_feasible, subnet_cost
from triptych.tiny.space import Survey, choose, count, sample, sensitivity
from triptych.tiny.tables import CostTables


def test_the_reserve_is_taken_from_the_board():
    """Runtime and application share the board; a network that fills it alone does not run."""
    board = BoardConfig(name="small", sram=32768, flash=131072)
    assert board_limits(board, ReserveConfig(1000, 2000)) == Limits(31768, 129072)


def test_both_limits_are_hard():
    """One byte too many in either memory does not link or crashes."""
    cost = Cost(macs=1, parameters=1, peak_sram=100, flash=200)
    assert Limits(100, 200).fit(cost)
    assert not Limits(99, 200).fit(cost)
    assert not Limits(100, 199).fit(cost)


def test_a_board_that_is_too_small_is_refused_before_any_work():
    """The message must say what the smallest subnet needs, what the board has, and what to do."""
    smallest = subnet_cost(SPACE, SPACE.smallest())
    with pytest.raises(ConfigError) as caught:
        require_feasible([EVEN, SPACE], subnet_cost, Limits(smallest.peak_sram - 1, 1 << 20))
    for words in (str(smallest.peak_sram), str(smallest.flash), "tiny.reserve", "Choose a larger board"):
        assert words in str(caught.value)


def test_one_space_that_fits_is_enough():
    """The others are merely not chosen."""
    smallest = subnet_cost(SPACE, SPACE.smallest())
    require_feasible([EVEN, SPACE], subnet_cost, Limits(smallest.peak_sram, 1 << 20))


def test_a_sample_and_the_count_of_all_agree():
    """Two routes to the same share, mean and curve: one draws subnets, the other multiplies laws."""
    tables = CostTables(SPACE)
    limits = Limits(subnet_cost(SPACE, SPACE.largest()).peak_sram - 1, 1 << 20)
    drawn = sample(tables, limits, memory="ours", samples=4000, rng=np.random.default_rng(0))
    exact = count(tables, limits, memory="ours")
    assert 0 < exact.share < 1
    assert drawn.share == pytest.approx(exact.share, abs=0.03)
    assert drawn.mean_macs == pytest.approx(exact.mean_macs, rel=0.01)
    assert np.abs(np.interp(drawn.macs, exact.macs, exact.heights) - drawn.heights).max() < 0.05
    assert drawn.macs.max() < subnet_cost(SPACE, SPACE.largest()).macs


def surveyed(space: SearchSpace, share: float, mean: float) -> Survey:
    return Survey(space, float(share), float(mean), np.empty(0), np.empty(0))


def test_the_space_with_the_largest_mean_macs_wins():
    """MCUNet's rule (section 3.1)."""
    few, many = surveyed(SPACE, 1, 2), surveyed(EVEN, 1, 3)
    assert choose([few, many], min_share=0.5) is many


def test_a_lucky_handful_does_not_win():
    """Without the guard a space of which almost nothing fits wins by one large subnet."""
    lucky, solid = surveyed(SPACE, 0.001, 100), surveyed(EVEN, 0.5, 10)
    assert choose([lucky, solid], min_share=0.01) is solid


def test_no_space_with_enough_is_an_error_that_names_the_best():
    """The user must see how far off the board is."""
    with pytest.raises(ConfigError, match=r"min_share=0.5.*the best is 0\.2500"):
        choose([surveyed(SPACE, 0.25, 1), surveyed(EVEN, 0, 0)], min_share=0.5)


def test_a_larger_reserve_never_chooses_more_computation():
    """What the runtime takes, the network loses; a reserve of the whole board leaves nothing to choose."""
    board = BoardConfig(name="small", sram=4096, flash=1 << 20)
    config = SpaceConfig(reserves=[0, 1500, 2200, 4095], min_share=0.01)
    rows = sensitivity([CostTables(SPACE), CostTables(EVEN)], board, ReserveConfig(0, 0), config)
    ours = [row["mean_macs"] for row in rows if row["memory"] == "ours"]
    assert ours[-1] is None
    assert ours[:-1] == sorted(ours[:-1], reverse=True)
    assert ours[0] > ours[2]
    assert {row["memory"] for row in rows} == {"ours", "tinyengine", "tflm"}
