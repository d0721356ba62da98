"""The privacy boundary, measured: what leaves has the promised scale of noise and nothing unclipped."""

import math

import numpy as np
import pytest
import torch

from benchmarks.noise import p_values, uniform_p_values
from triptych.privacy.noise import SecureSource, SeededSource
from triptych.privacy.sanitize import clip, sanitize

SOURCES = [SeededSource(), SecureSource()]


class Silence:
    """A source without noise, to see what the noise covers."""

    name = "silence"

    def normal(self, *shape):
        return torch.zeros(*shape, dtype=torch.float64)

    def draws(self, count, choices):
        return torch.zeros(count, dtype=torch.int64)


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_noise_has_the_promised_standard_deviation(source):
    """Epsilon is computed from this ratio: a factor of 2 here would be invisible in every picture."""
    torch.manual_seed(0)
    released = sanitize(torch.zeros(200, 3, 1000), clip_norm=0.7, noise_multiplier=1.3, source=source)
    assert float(released.std()) / (2 * 0.7 * 1.3) == pytest.approx(1, abs=0.006)
    assert float(released.mean()) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_noise_is_independent_between_releases_and_coordinates(source):
    """Noise that is shared by two rows cancels in their difference."""
    torch.manual_seed(0)
    released = sanitize(torch.zeros(8, 1, 20_000), clip_norm=1.0, noise_multiplier=1.0, source=source)
    correlation = torch.corrcoef(released) - torch.eye(8)
    assert correlation.abs().max() < 0.04
    assert torch.corrcoef(torch.stack([released[0, :-1], released[0, 1:]]))[0, 1].abs() < 0.04


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_every_call_draws_new_noise(source):
    """Two releases with equal noise would reveal the difference of their gradients exactly."""
    grads = torch.ones(1, 2, 50)
    first, second = (sanitize(grads, clip_norm=1.0, noise_multiplier=1.0, source=source) for _ in range(2))
    assert not torch.isclose(first, second).any()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_counts_as_zero(value):
    """A single NaN would otherwise pass the clip, whose comparison it defeats."""
    grads = torch.ones(1, 3, 4)
    grads[0, 1, 2] = value
    released = sanitize(grads, clip_norm=2.0, noise_multiplier=1.0, source=Silence())
    assert torch.equal(released, torch.full((1, 4), 2.0))


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-20, 1.0, 1e20, 3e38])
def test_clipped_norms_never_exceed_the_bound(scale):
    """Squares of large float32 values overflow, and the norm of tiny ones vanishes."""
    torch.manual_seed(0)
    vectors = (torch.rand(20, 64) * 2 - 1) * scale
    clipped = clip(vectors, 0.5)
    assert clipped.isfinite().all()
    assert clipped.double().norm(dim=1).max() <= 0.5 * (1 + 1e-6)


def test_short_vectors_pass_unchanged():
    """Clipping bounds a gradient; normalising it would be another method."""
    vectors = torch.tensor([[0.3, 0.4], [3.0, 4.0]])
    assert torch.allclose(clip(vectors, 1.0), torch.tensor([[0.3, 0.4], [0.6, 0.8]]))


def test_the_secure_source_ignores_seeds():
    """Whoever knows the published seed must learn nothing about the noise."""
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        source = SecureSource()
        drawn.append((source.normal(100), source.draws(100, 1000)))
    assert not torch.isclose(drawn[0][0], drawn[1][0]).any()
    assert not torch.equal(drawn[0][1], drawn[1][1])


def test_the_seeded_source_repeats():
    """Experiments compare settings on equal noise; resume relies on it."""
    torch.manual_seed(0)
    first = SeededSource().normal(10)
    torch.manual_seed(0)
    assert torch.equal(first, SeededSource().normal(10))


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_draws_are_uniform(source):
    """Amplification by subsampling assumes probability exactly 1/K for every discriminator."""
    torch.manual_seed(0)
    counts = torch.bincount(source.draws(20_000, 10), minlength=10)
    assert len(counts) == 10
    assert (counts - 2000).abs().max() < 5 * math.sqrt(2000)


CHANCE = 1e-7  # of each of 15 tests to fail with a source without fault


def test_secure_noise_is_normal_and_independent():
    """The theorem is about independent normal values, tails included; a slice of `benchmarks.noise`."""
    source = SecureSource()
    first, second = (source.normal(200_000).numpy() for _ in range(2))
    found = {**p_values(first, second), **uniform_p_values(source, 100_000)}
    assert min(found.values()) > CHANCE, found


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (lambda x, y: (1.01 * x, 1.01 * y), "standard deviation, chi-square"),
        (lambda x, y: (x, x), "two calls, correlation"),
        (lambda x, y: (np.clip(x, -3.9, 3.9), np.clip(y, -3.9, 3.9)), "beyond 4 deviations, binomial"),
        (lambda x, y: (np.repeat(x[::2], 2), y), "no value twice"),
    ],
    ids=["too wide", "repeated call", "cut tails", "repeated values"],
)
def test_the_tests_of_the_noise_find_faults(fault, found: str):
    """A test that nothing fails says nothing."""
    rng = np.random.default_rng(0)
    assert p_values(*fault(rng.normal(size=200_000), rng.normal(size=200_000)))[found] < CHANCE
