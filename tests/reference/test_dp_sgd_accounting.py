"""The price of DP-SGD against an integral, other bounds and Opacus."""

from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from scipy.integrate import quad
from scipy.stats import norm

from triptych.privacy.accounting import epsilon, noise_for, privacy_loss, subsampled_profile
from triptych.privacy.add_remove import add_or_remove_epsilon
from triptych.privacy.mechanism import EncodedEmbedding, MeanEmbedding, Release, SampledGradients

SETTINGS = [(1.0, 0.02, 2000), (0.5, 0.01, 1000), (1.0, 0.1, 500)]  # noise / (2 * clip_norm), rate, steps


@pytest.mark.parametrize("at", [0.05, 0.5, 2.0])
def test_one_step_is_the_hockey_stick_integral_of_two_mixtures(at):
    """A record at one end of the ball against the other end, each present with the sampling rate."""
    rate, noise = 0.1, 0.5

    def density(x: float, end: float) -> float:
        return float(rate * norm.pdf(x, end, 2 * noise) + (1 - rate) * norm.pdf(x, 0, 2 * noise))

    def excess(x: float) -> float:
        return max(density(x, 1.0) - np.exp(at) * density(x, -1.0), 0.0)

    integral, _ = quad(excess, -12, 14, limit=500)
    loss = privacy_loss(Release(noise, rate, 1, poisson=True), 1e-4)
    assert loss.get_delta_for_epsilon(at) == pytest.approx(integral, rel=1e-2, abs=1e-7)
    assert loss.get_delta_for_epsilon(at) >= integral - 1e-8


@pytest.mark.parametrize(("noise", "rate", "steps"), SETTINGS)
def test_opacus_and_dp_accounting_agree_on_what_the_literature_counts(noise, rate, steps):
    """Two libraries, add or remove one record; a factor 2 in our noise multiplier would show."""
    event = SampledGradients(noise, steps, rate)
    opacus = add_or_remove_epsilon(event, 1e-5)
    step = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(2 * noise))
    google = PLDAccountant().compose(step, steps).get_epsilon(1e-5)
    assert opacus == pytest.approx(google, rel=0.01)


@pytest.mark.parametrize(("noise", "rate", "steps"), SETTINGS)
def test_replacing_costs_more_than_removing_and_less_than_amplification_alone(noise, rate, steps):
    """The general theorem on subsampling (Balle, Barthe, Gaboardi 2018) holds here too and is looser."""
    event = SampledGradients(noise, steps, rate)
    ours = epsilon(event, 1e-5, accountant="pld")
    assert ours > 1.2 * add_or_remove_epsilon(event, 1e-5)
    general = epsilon_of_general_bound(noise, rate, steps)
    assert ours < general


def epsilon_of_general_bound(noise, rate, steps):
    """delta'(log(1 + q(e^eps - 1))) <= q delta(eps), composed."""
    loss = privacy_loss(Release(noise, rate, 1), 1e-3)
    assert loss.get_delta_for_epsilon(0.1) == pytest.approx(
        float(subsampled_profile(np.array([0.1]), noise, rate)[0]), rel=1e-2
    )
    return float(loss.self_compose(steps).get_epsilon_for_delta(1e-5))


@pytest.mark.parametrize(("noise", "gradient_noise"), [(1.0, 1.3), (3.0, 0.4)])
def test_an_autoencoder_and_an_embedding_cost_what_two_libraries_say(noise, gradient_noise):
    """DP-MERF AE releases both of the same records: its epsilon is of the composition, never of a part."""
    rate, steps = 0.02, 300
    event = EncodedEmbedding(noise, steps + 1, rate, gradient_noise)
    gradient = dp_accounting.GaussianDpEvent(2 * noise * gradient_noise)
    parts = [
        (dp_accounting.PoissonSampledDpEvent(rate, gradient), steps),
        (dp_accounting.GaussianDpEvent(2 * noise), 1),
    ]

    def google(adjacency: dp_accounting.NeighboringRelation) -> float:
        accountant = PLDAccountant(adjacency)
        for step, count in parts:
            accountant.compose(step, count)
        return accountant.get_epsilon(1e-5)

    adjacency = dp_accounting.NeighboringRelation
    ours = epsilon(event, 1e-5, accountant="pld")
    assert ours == pytest.approx(google(adjacency.REPLACE_ONE), rel=2e-3)
    assert add_or_remove_epsilon(event, 1e-5) == pytest.approx(google(adjacency.ADD_OR_REMOVE_ONE), abs=0.02)
    for alone in (SampledGradients(noise * gradient_noise, steps, rate), MeanEmbedding(noise)):
        assert ours > 1.01 * epsilon(alone, 1e-5, accountant="pld")
    assert epsilon(replace(event, steps=1), 1e-5, accountant="pld") == pytest.approx(
        epsilon(MeanEmbedding(noise), 1e-5, accountant="gdp"), rel=2e-3
    )


def test_whole_batches_are_plain_gaussian_mechanisms():
    """At rate 1 nothing is secret, and the exact profile is known."""
    event = SampledGradients(10.0, 400, 1.0)
    assert epsilon(event, 1e-5, accountant="pld") == pytest.approx(9.997, rel=2e-3)


def test_calibration_keeps_the_budget():
    """The rivals' noise multiplier of null comes from here."""
    event = SampledGradients(1.0, 500, 0.05)
    noise = noise_for(event, 1.0, 1e-5, accountant="pld")
    assert 0.99 < epsilon(replace(event, noise_multiplier=noise), 1e-5, accountant="pld") <= 1.0
