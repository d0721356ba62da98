"""G-PATE: one vote a direction whatever a discriminator says, and a histogram that moves as accounted."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triptych.config.data import DataConfig
from triptych.config.private import DiscriminatorConfig, PrivateConfig
from triptych.config.rivals import GPATEConfig
from triptych.errors import ConfigError
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.private.budget import calibrated, terms
from triptych.private.ensemble import MLPEnsemble
from triptych.private.rivals.gpate import VoteReleaser, bins, histogram, winners

SETTINGS = GPATEConfig(steps=4, directions=3, bins=5, bound=1.0, threshold=0.0, noise_multiplier=2.0)
CONFIG = PrivateConfig(method="gpate", gpate=SETTINGS, discriminators=6, rows=4, epsilon_budget=10.0)


@given(seed=st.integers(0, 1000), scale=st.floats(0, 1e30), broken=st.sampled_from([0.0, math.nan, math.inf]))
def test_replacing_one_discriminators_values_moves_the_histogram_as_accounted(seed, scale, broken):
    """The premise of the theorem: one record decides what one discriminator says, all of it."""
    rng = torch.Generator().manual_seed(seed)
    values = torch.randn(6, 4, 3, generator=rng)
    changed = values.clone()
    changed[seed % 6] = torch.randn(4, 3, generator=rng) * scale + broken
    before, after = (histogram(bins(x, SETTINGS), SETTINGS.bins) for x in (values, changed))
    assert (before - after).norm() <= terms(CONFIG).sensitivity * (1 + 1e-9)
    assert (after.sum(2) == 6).all(), "a vote was lost or counted twice"


def test_the_sensitivity_is_attained():
    """All votes of one discriminator change: noise for less would be too little."""
    low, high = torch.full((6, 4, 3), -0.9), torch.full((6, 4, 3), -0.9)
    high[2] = 0.9
    first, second = (histogram(bins(x, SETTINGS), SETTINGS.bins) for x in (low, high))
    assert float((first - second).norm()) == pytest.approx(terms(CONFIG).sensitivity)
    assert terms(CONFIG).sensitivity == pytest.approx(math.sqrt(2 * 4 * 3))


def test_a_value_votes_for_the_bin_that_contains_it():
    """The winner is the middle of that bin: off by at most half a bin inside the bounds."""
    values = torch.linspace(-0.999, 0.999, 50)[None, :, None]
    voted = winners(histogram(bins(values, SETTINGS), 5), SETTINGS, threshold=0.5)
    assert (voted[:, 0] - values[0, :, 0]).abs().max() <= 0.2 + 1e-6


def test_no_agreement_is_no_direction():
    """Below the threshold a coordinate of the gradient is zero."""
    values = torch.tensor([-0.9, -0.5, 0.0, 0.5, 0.9, 0.9])[:, None, None]
    counts = histogram(bins(values, SETTINGS), 5)
    assert winners(counts, SETTINGS, threshold=2.0).item() == pytest.approx(0.8)
    assert winners(counts, SETTINGS, threshold=2.5).item() == 0.0


class Silence:
    """A source without noise."""

    name = "silence"

    def normal(self, *shape):
        return torch.zeros(*shape, dtype=torch.float64)

    def draws(self, count, choices):
        return torch.zeros(count, dtype=torch.int64)


def test_votes_point_where_the_gradient_points_and_are_paid_for(tmp_path):
    """With agreeing discriminators, fine bins and no noise, the direction is the gradient's own."""
    torch.manual_seed(0)
    data = DataConfig("digits", image_size=8, train_size=24, test_size=1)
    ensemble = MLPEnsemble(6, DiscriminatorConfig(kind="mlp", width=8), data)
    for parameter in ensemble.parameters():
        parameter.data.copy_(parameter.data[:1].expand_as(parameter))
    settings = replace(SETTINGS, directions=2000, bins=200, bound=2.0)
    config = replace(CONFIG, gpate=settings)
    fake, labels = torch.rand(4, 1, 8, 8, requires_grad=True), torch.arange(4)
    judged = ensemble(fake[None].expand(6, -1, -1, -1, -1), labels.expand(6, -1))
    (exact,) = torch.autograd.grad(-judged.sum(), fake)
    with Ledger(tmp_path / "ledger.jsonl", mechanism(terms(config))) as ledger:
        voted = VoteReleaser(config, ledger, Silence(), limit=9)(ensemble, fake.detach(), labels, step=0)
        assert ledger.steps == 1
    assert torch.cosine_similarity(voted.flatten(1), exact.flatten(1)).min() > 0.9


def test_noise_follows_the_budget_and_steps():
    """sqrt(T) / sigma-GDP: four times the steps need twice the noise."""
    free = replace(CONFIG, gpate=replace(SETTINGS, noise_multiplier=None))
    one = terms(calibrated(free)).event.noise_multiplier
    four = terms(calibrated(replace(free, gpate=replace(free.gpate, steps=16)))).event.noise_multiplier
    assert one == pytest.approx(2 / 2.0004, rel=2e-3)
    assert four == pytest.approx(2 * one, rel=2e-3)


def test_impossible_values_are_refused():
    """All discriminators and more cannot agree."""
    with pytest.raises(ConfigError, match=r"private\.gpate\.threshold=1\.0 must be a share in \[0, 1\)"):
        replace(SETTINGS, threshold=1.0).check()
