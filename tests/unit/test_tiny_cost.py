import numpy as np
import pytest
from subnets import EVEN, SPACE

from triptych.config.tiny import BoardConfig, ReserveConfig
from triptych.errors import ConfigError
from triptych.tiny.cost import Cost, Limits, board_limits, require_feasible, subnet_cost
from triptych.tiny.space import Survey, choose, survey


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


def test_a_survey_keeps_the_macs_of_what_fits():
    """Means over networks that the board cannot hold say nothing about the board."""
    limits = Limits(subnet_cost(SPACE, SPACE.largest()).peak_sram - 1, 1 << 20)
    found = survey(SPACE, subnet_cost, limits, samples=50, rng=np.random.default_rng(0))
    assert 0 < found.share < 1
    assert list(found.macs) == sorted(found.macs)
    assert max(found.macs) < subnet_cost(SPACE, SPACE.largest()).macs


def test_the_space_with_the_largest_mean_macs_wins():
    """MCUNet's rule (section 3.1)."""
    few, many = Survey(SPACE, 4, (1, 2, 3)), Survey(EVEN, 4, (2, 3, 4))
    assert choose([few, many], min_share=0.5) is many


def test_a_lucky_handful_does_not_win():
    """Without the guard a space of which almost nothing fits wins by one large subnet."""
    lucky, solid = Survey(SPACE, 1000, (100,)), Survey(EVEN, 1000, (10,) * 500)
    assert choose([lucky, solid], min_share=0.01) is solid


def test_no_space_with_enough_is_an_error_that_names_the_best():
    """The user must see how far off the board is."""
    with pytest.raises(ConfigError, match=r"min_share=0.5.*the best is 0\.2500"):
        choose([Survey(SPACE, 4, (1,)), Survey(EVEN, 4, ())], min_share=0.5)
