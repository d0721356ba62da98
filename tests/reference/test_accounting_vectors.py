"""Epsilon against published vectors, closed forms, simulation and another accountant."""

import math

import numpy as np
import pytest
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
from scipy.integrate import quad
from scipy.stats import norm

from triptych.privacy.accounting import (
    as_published,
    epsilon,
    gaussian_profile,
    noise_for,
    privacy_loss,
    subsampled_profile,
)
from triptych.privacy.mechanism import FullEnsemble, IndependentDraws, Release, SharedDraw

INDEPENDENT = [  # noise multiplier, discriminators, steps, rows, delta, rdp, pld
    (1.07, 1000, 20_000, 32, 1e-5, 9.243, 5.510),
    (1.07, 1000, 20_000, 1, 1e-5, 1.295, 0.788),
    (0.80, 1000, 20_000, 32, 1e-5, 14.031, 10.498),
    (1.07, 100, 2_000, 32, 1e-5, 40.777, 22.714),
    (2.00, 100, 5_000, 16, 1e-5, 18.505, 8.599),
    (1.50, 500, 10_000, 32, 1e-6, 9.610, 5.089),
]
FULL = [(10.0, 400, 9.997), (15.81, 1_000, 9.998), (70.0, 20_000, 10.123), (10.0, 56, 3.139)]
PUBLISHED = SharedDraw(1.07, 20_000, 1000, 32)


@pytest.mark.parametrize(("noise", "shards", "steps", "rows", "delta", "rdp", "pld"), INDEPENDENT)
def test_independent_draws_cost_what_was_computed_elsewhere(noise, shards, steps, rows, delta, rdp, pld):
    """These numbers were computed by other scripts; a slip in rate, count or sensitivity moves them."""
    event = IndependentDraws(noise, steps, shards, rows)
    assert epsilon(event, delta, accountant="rdp") == pytest.approx(rdp, abs=6e-4)
    assert epsilon(event, delta, accountant="pld") == pytest.approx(pld, abs=6e-4)


@pytest.mark.parametrize(("noise", "steps", "expected"), FULL)
def test_full_ensemble_costs_what_was_computed_elsewhere(noise, steps, expected):
    """The default release is accounted by this formula."""
    event = FullEnsemble(noise, steps)
    assert epsilon(event, 1e-5, accountant="gdp") == pytest.approx(expected, abs=6e-4)
    assert epsilon(event, 1e-5, accountant="pld") == pytest.approx(expected, abs=1e-3)


def test_the_published_analysis_understates_the_shared_draw():
    """Rows that share one draw compose before amplification: 347, not 9.24."""
    assert as_published(PUBLISHED, 1e-5) == pytest.approx(9.243, abs=6e-4)
    coarse = epsilon(PUBLISHED, 1e-5, accountant="pld", interval=1e-2)
    assert coarse == pytest.approx(347, abs=1)


def test_one_step_of_the_shared_draw_costs_more_than_eighteen():
    """The flaw shows in a single step already, where no composition theorem is involved."""
    event = SharedDraw(1.07, 1, 1000, 32)
    assert epsilon(event, 1e-5, accountant="pld", interval=1e-3) == pytest.approx(18.54, abs=0.01)


def test_calibration_reproduces_the_known_noise_multipliers():
    """The inverse is what the error text of an exceeded budget recommends."""
    for target, mu in ((10.0, 2.0004), (1.0, 0.2681)):
        noise = noise_for(FullEnsemble(1.0, 400), target, 1e-5, accountant="gdp")
        assert noise == pytest.approx(math.sqrt(400) / mu, rel=2e-3)
    independent = IndependentDraws(1.0, 20_000, 1000, 32)
    assert noise_for(independent, 10.0, 1e-5, accountant="pld") == pytest.approx(0.8154, rel=2e-3)


@pytest.mark.parametrize("noise", [0.7, 2.0, 10.0])
@pytest.mark.parametrize("at", [-1.0, 0.0, 0.3, 2.0])
def test_gaussian_profile_is_the_hockey_stick_integral(noise, at):
    """Independent of the closed form: integrate (p - e^eps q)+ over two unit-distance Gaussians."""

    def excess(x: float) -> float:
        return float(norm.pdf(x, 1, noise) - math.exp(at) * norm.pdf(x, 0, noise))

    crossing = noise**2 * at + 0.5
    integral, _ = quad(excess, crossing, max(crossing, 1) + 12 * noise)
    assert gaussian_profile(np.array([at]), noise)[0] == pytest.approx(integral, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("noise", [0.8, 1.5])
@pytest.mark.parametrize("at", [0.05, 0.4, 1.0])
def test_one_subsampled_release_matches_its_mixture(noise, at):
    """At one composition the bound is attained by the mixture against its base: checked by integration."""
    rate = 0.05

    def excess(x: float) -> float:
        base = norm.pdf(x, 0, noise)
        return float((1 - rate) * base + rate * norm.pdf(x, 1, noise) - math.exp(at) * base)

    crossing = noise**2 * math.log1p(math.expm1(at) / rate) + 0.5  # where the loss is `at`
    integral, _ = quad(excess, crossing, crossing + 12 * noise, epsabs=1e-16)
    assert subsampled_profile(np.array([at]), noise, rate)[0] == pytest.approx(integral, rel=1e-5)
    one = privacy_loss(Release(noise, rate, 1))
    assert one.get_delta_for_epsilon(at) == pytest.approx(integral, rel=1e-3)


def test_without_sampling_the_distribution_is_the_librarys_gaussian():
    """Our discretisation and dp-accounting's meet where both apply."""
    ours = privacy_loss(Release(3.0, 1.0, 1)).self_compose(50)
    theirs = from_gaussian_mechanism(3.0, value_discretization_interval=1e-4).self_compose(50)
    assert ours.get_epsilon_for_delta(1e-5) == pytest.approx(theirs.get_epsilon_for_delta(1e-5), rel=1e-5)


def _sample_losses(noise: float, rate: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Losses of the symmetric pair whose positive part is the mixture's against its base."""
    drawn = rng.random(size) < rate
    x = rng.normal(drawn, noise)
    loss = np.log1p(rate * np.expm1((2 * x - 1) / (2 * noise**2)))
    positive = loss[loss > 0]
    mirrored = -positive[rng.random(len(positive)) < np.exp(-positive)]
    losses = np.zeros(size)
    losses[: len(positive)] = positive
    losses[len(positive) : len(positive) + len(mirrored)] = mirrored
    return rng.permutation(losses)


def test_composition_agrees_with_a_simulation_of_the_privacy_loss():
    """Numerical composition has no closed form to compare with; 200,000 simulated runs are the witness."""
    noise, rate, steps, runs = 1.0, 0.1, 40, 200_000
    rng = np.random.default_rng(0)
    total = np.zeros(runs)
    for _ in range(steps):
        total += _sample_losses(noise, rate, runs, rng)
    composed = privacy_loss(Release(noise, rate, steps)).self_compose(steps)
    for at in (0.5, 1.0, 2.0):
        over = np.maximum(-np.expm1(at - total), 0.0)
        error = over.std() / math.sqrt(runs)
        assert composed.get_delta_for_epsilon(at) == pytest.approx(over.mean(), abs=5 * error)


@pytest.mark.parametrize(("noise", "shards", "count"), [(1.07, 100, 500), (2.0, 50, 2000), (0.8, 20, 50)])
def test_replacement_costs_at_least_poisson_sampling(noise, shards, count):
    """Replace-one is the stronger promise, so a smaller epsilon than add/remove would be a bug."""
    poisson = from_gaussian_mechanism(noise, sampling_prob=1 / shards, value_discretization_interval=1e-3)
    event = IndependentDraws(noise, count, shards, 1)
    assert epsilon(event, 1e-5, accountant="pld", interval=1e-3) >= 0.999 * poisson.self_compose(
        count
    ).get_epsilon_for_delta(1e-5)
