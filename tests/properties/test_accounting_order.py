"""Epsilon moves the right way with every parameter."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.privacy.accounting import epsilon, noise_for, steps_for
from triptych.privacy.mechanism import FullEnsemble, IndependentDraws, SharedDraw

DELTA = 1e-5
COARSE = 1e-3

full = st.builds(FullEnsemble, st.floats(2, 50), st.integers(1, 2000))
independent = st.builds(
    IndependentDraws, st.floats(0.7, 5), st.integers(1, 500), st.integers(10, 1000), st.integers(1, 64)
)


@settings(deadline=None, max_examples=40)
@given(full)
def test_full_ensemble_is_monotone_and_gdp_is_the_smallest(event):
    """The exact value must lie below every bound, and more steps or less noise must cost more."""
    exact = epsilon(event, DELTA, accountant="gdp")
    assert exact <= epsilon(event, DELTA, accountant="rdp")
    assert exact <= epsilon(event, DELTA, accountant="pld", interval=COARSE) + 1e-6
    assert exact < epsilon(replace(event, steps=event.steps + 1), DELTA, accountant="gdp")
    assert exact < epsilon(
        replace(event, noise_multiplier=event.noise_multiplier * 0.99), DELTA, accountant="gdp"
    )
    assert exact <= epsilon(event, DELTA / 2, accountant="gdp")


@settings(deadline=None, max_examples=12)
@given(independent)
def test_independent_draws_are_monotone_and_pld_is_below_rdp(event):
    """A tight accountant above the loose one, or one that rewards more releases, is broken."""
    cost = epsilon(event, DELTA, accountant="pld", interval=COARSE)
    assert cost <= epsilon(event, DELTA, accountant="rdp") * 1.02 + COARSE * 10
    for worse in (
        replace(event, steps=2 * event.steps),
        replace(event, noise_multiplier=event.noise_multiplier / 1.2),
        replace(event, discriminators=event.discriminators // 2),
    ):
        assert cost <= epsilon(worse, DELTA, accountant="pld", interval=COARSE) + COARSE


@pytest.mark.parametrize("rows", [2, 8, 32])
def test_rows_that_share_one_draw_cost_more_than_independent_draws(rows):
    """Guards the order of composition and amplification."""
    shared = epsilon(SharedDraw(1.07, 50, 100, rows), DELTA, accountant="pld", interval=COARSE)
    apart = epsilon(IndependentDraws(1.07, 50, 100, rows), DELTA, accountant="pld", interval=COARSE)
    assert shared > 1.2 * apart


@settings(deadline=None, max_examples=20)
@given(full, st.floats(0.5, 20))
def test_calibration_never_exceeds_its_target(event, target):
    """What an error text recommends must pass the check that raised it."""
    noise = noise_for(event, target, DELTA, accountant="gdp")
    assert epsilon(replace(event, noise_multiplier=noise), DELTA, accountant="gdp") <= target
    steps = steps_for(event, target, DELTA, accountant="gdp", at_most=10**9)
    assert epsilon(replace(event, steps=steps), DELTA, accountant="gdp") <= target
    assert epsilon(replace(event, steps=steps + 1), DELTA, accountant="gdp") > target


@settings(deadline=None, max_examples=20)
@given(full, st.floats(0.5, 20), st.floats(1, 3), st.integers(1, 5000))
def test_a_bound_on_steps_cuts_and_changes_nothing_below(event, target, wider, bound):
    """A limit that fell with a larger budget would stop a training that was paid for."""
    exact = steps_for(event, target, DELTA, accountant="gdp", at_most=10**9)
    bounded = steps_for(event, target, DELTA, accountant="gdp", at_most=bound)
    assert bounded == min(exact, bound)
    assert bounded <= steps_for(event, wider * target, DELTA, accountant="gdp", at_most=bound)
