"""The choice of forms against exhaustive search."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from triptych.engine.thumb.add import Sum
from triptych.engine.thumb.finish import Clamp
from triptych.engine.thumb.schedule import STEP, Option, choose

KERNEL = Sum(1, 1, 1, Clamp(signed=True, low=-128, high=127, zero_point=0))
OPTIONS = st.builds(
    lambda cost, steps: Option(KERNEL, float(cost), steps * STEP), st.integers(0, 9000), st.integers(0, 9)
)


@given(st.lists(st.lists(OPTIONS, min_size=1, max_size=4), min_size=1, max_size=4), st.integers(0, 40))
def test_the_choice_is_the_best_of_all_that_fit(groups: list[list[Option]], steps: int):
    """A greedy choice would leave instructions on the table; exhaustive search shares no code with this."""
    chosen = choose(groups, steps * STEP)
    fitting = [each for each in product(*groups) if sum(option.flash for option in each) <= steps * STEP]
    if fitting:
        assert sum(option.flash for option in chosen) <= steps * STEP
        assert sum(o.cost for o in chosen) == min(sum(o.cost for o in each) for each in fitting)
    else:
        assert [o.flash for o in chosen] == [min(o.flash for o in options) for options in groups]
