"""The audit against planted faults: it must see each of them in the data, and pass the honest sanitiser."""

import math

import numpy as np
import pytest
import torch

from triptych.privacy.accounting import epsilon
from triptych.privacy.audit import audit, epsilon_from_scores
from triptych.privacy.mechanism import IndependentDraws
from triptych.privacy.noise import SecureSource, SeededSource
from triptych.privacy.sanitize import clip, sanitize

CLIP_NORM, NOISE = 0.7, 3.73  # epsilon 1 at delta 1e-5


def summed(grads, clip_norm):
    return clip(grads, clip_norm).sum(1, dtype=torch.float64)


def no_clip(grads, *, clip_norm, noise_multiplier, source):
    total = grads.sum(1, dtype=torch.float64)
    return total + noise_multiplier * 2 * clip_norm * source.normal(*total.shape)


def wrong_clip_scale(grads, *, clip_norm, noise_multiplier, source):
    total = summed(grads, 2 * clip_norm)
    return total + noise_multiplier * 2 * clip_norm * source.normal(*total.shape)


def weak_noise(grads, *, clip_norm, noise_multiplier, source):
    return sanitize(grads, clip_norm=clip_norm, noise_multiplier=0.1 * noise_multiplier, source=source)


def noise_divided_twice(grads, *, clip_norm, noise_multiplier, source):
    rows = 16
    return sanitize(grads, clip_norm=clip_norm, noise_multiplier=noise_multiplier / rows, source=source)


def fixed_seed(grads, *, clip_norm, noise_multiplier, source):
    total = summed(grads, clip_norm)
    rng = torch.Generator().manual_seed(1)
    noise = torch.randn(total.shape, generator=rng, dtype=torch.float64)
    return total + noise_multiplier * 2 * clip_norm * noise


def sensitivity_of_add_remove(grads, *, clip_norm, noise_multiplier, source):
    total = summed(grads, clip_norm)
    return total + noise_multiplier * clip_norm * source.normal(*total.shape)


def noise_shared_between_rows(grads, *, clip_norm, noise_multiplier, source):
    total = summed(grads, clip_norm)
    return total + noise_multiplier * 2 * clip_norm * source.normal(1, total.shape[1])


@pytest.mark.parametrize("source", [SeededSource(), SecureSource()], ids=lambda s: s.name)
def test_the_honest_sanitiser_passes(source):
    """An alarm that always rings tells nothing."""
    torch.manual_seed(0)
    # a test that runs for ever must not ring once in twenty runs
    report = audit(sanitize, source=source, clip_norm=CLIP_NORM, noise_multiplier=NOISE, confidence=1 - 1e-6)
    assert report.faults == ()
    assert report.epsilon_claimed == pytest.approx(1, abs=0.01)
    assert 0.2 < report.epsilon_lower_bound <= report.epsilon_claimed


@pytest.mark.parametrize(
    ("fault", "seen_by"),
    [
        (no_clip, "clip"),
        (wrong_clip_scale, "clip"),
        (weak_noise, "noise_std"),
        (noise_divided_twice, "noise_std"),
        (fixed_seed, "correlation"),
        (sensitivity_of_add_remove, "noise_std"),
        (noise_shared_between_rows, "correlation"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_sanitiser_is_caught(fault, seen_by):
    """By the canaries, whose lower bound exceeds the claim, and by a direct measurement."""
    torch.manual_seed(0)
    report = audit(fault, source=SeededSource(), clip_norm=CLIP_NORM, noise_multiplier=NOISE)
    assert report.epsilon_lower_bound > report.epsilon_claimed
    assert {"canaries", seen_by} <= set(report.faults)


class OneDraw(SeededSource):
    """The fault: all rows of a step pass through the same discriminator."""

    def draws(self, count, choices):
        return super().draws(1, choices).expand(count)


def victim_scores(source, sign, *, trials, members, rows, clip_norm, noise_multiplier):
    """Sum over the rows of a step, when the victim's shard pushes every row to `sign`."""
    drawn = torch.stack([source.draws(rows, members) for _ in range(trials)])
    blocks = torch.where(drawn == 0, sign * 100.0, 0.0).reshape(-1, 1, 1)
    released = sanitize(blocks, clip_norm=clip_norm, noise_multiplier=noise_multiplier, source=source)
    return released.reshape(trials, rows).double().sum(1).numpy()


@pytest.mark.parametrize(("source", "broken"), [(SeededSource(), False), (OneDraw(), True)])
def test_a_shared_draw_accounted_as_independent_is_caught(source, broken):
    """The flaw of the published accounting, demonstrated on data instead of argued."""
    torch.manual_seed(0)
    setting = {"trials": 20_000, "members": 50, "rows": 64, "clip_norm": 1.0, "noise_multiplier": 1.07}
    claimed = epsilon(IndependentDraws(1.07, 1, 50, 64), 1e-5, accountant="pld")
    scores = [victim_scores(source, sign, **setting) for sign in (1.0, -1.0)]
    assert (epsilon_from_scores(scores[0], scores[1], 1e-5) > claimed) == broken


def test_the_bound_of_a_known_mechanism_lies_below_its_epsilon():
    """Scores of two unit Gaussians a distance mu apart have a known epsilon."""
    rng = np.random.default_rng(0)
    bound = epsilon_from_scores(rng.normal(1, 1, 20_000), rng.normal(0, 1, 20_000), 1e-5)
    assert 1.0 < bound < 4.4
    same = epsilon_from_scores(rng.normal(0, 1, 2000), rng.normal(0, 1, 2000), 1e-5)
    assert same < math.log(2)
