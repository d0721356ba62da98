"""What an event costs: epsilon by several accountants, and its inverse.

`gdp` is exact for the full ensemble; `pld` is the tight numerical bound for
subsampled events; `rdp` is an independent, looser bound. The value of a
numerical accountant is an upper bound on the smallest epsilon that holds.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import dp_accounting
import numpy as np
from dp_accounting import rdp
from dp_accounting.pld import pld_pmf
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution, from_gaussian_mechanism
from jaxtyping import Float64
from scipy.optimize import root_scalar
from scipy.special import log_ndtr

from triptych.errors import ConfigError
from triptych.privacy.mechanism import Event, IndependentDraws, Release, SharedDraw

INTERVAL = 1e-4  # of the discretised privacy loss: halving it moves epsilon by less than 0.1%
COARSE = 1e-3  # the same for Poisson sampling, and where one release may lose more than LARGE
LARGE = 15.0
NEGLIGIBLE = 1e-15  # profile value beyond which the loss counts as infinite
HOPELESS = 100.0  # privacy loss of one release above which no numerical bound is worth its memory
RDP_ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(11, 65), 128, 256, 512, 1024)

Profile = Float64[np.ndarray, " n"]
Accountant = Callable[[Release, float, float | None], float]  # of a release, delta and interval


def gaussian_profile(epsilon: Profile, noise_multiplier: float) -> Profile:
    """Delta of one Gaussian mechanism at each epsilon (Balle, Wang 2018, arXiv:1805.06530, Theorem 8)."""
    mu = 1 / noise_multiplier
    upper = log_ndtr(mu / 2 - epsilon / mu)
    lower = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return -np.exp(upper) * np.expm1(np.minimum(lower - upper, 0.0))


def subsampled_profile(epsilon: Profile, noise_multiplier: float, sample_rate: float) -> Profile:
    """Delta of a Gaussian mechanism that is applied to a secret `sample_rate` of the data.

    Balle, Barthe, Gaboardi 2018 (arXiv:1807.01647), Theorem 9, for sampling
    without replacement; replace-one is symmetric, which gives the values below zero.
    """
    size = np.abs(epsilon)
    inner = np.log1p(np.expm1(size) / sample_rate)
    positive = sample_rate * gaussian_profile(inner, noise_multiplier)
    negative = -np.expm1(-size) + np.exp(-size) * positive
    return np.where(epsilon < 0, negative, positive)


def _largest_loss(noise_multiplier: float) -> float:
    """The privacy loss that a Gaussian mechanism exceeds with negligible probability (tail bound)."""
    mu = 1 / noise_multiplier
    return mu**2 / 2 + mu * math.sqrt(-2 * math.log(NEGLIGIBLE))


def privacy_loss(release: Release, interval: float | None = None) -> PrivacyLossDistribution:
    """A pessimistic privacy loss distribution of one release (connect-the-dots on its profile)."""
    if release.poisson:
        return from_gaussian_mechanism(
            2 * release.noise_multiplier,  # the library counts from an absent record: half the sensitivity
            value_discretization_interval=interval or COARSE,
            sampling_prob=release.sample_rate,
            neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE,
        )
    loss = _largest_loss(release.noise_multiplier)
    interval = interval or (INTERVAL if loss <= LARGE else COARSE)
    reach = math.ceil(math.log1p(release.sample_rate * math.expm1(loss)) / interval) + 1
    grid = np.arange(-reach, reach + 1)
    deltas = subsampled_profile(grid * interval, release.noise_multiplier, release.sample_rate)
    pmf = pld_pmf.create_pmf_pessimistic_connect_dots(interval, grid, np.clip(deltas, 0, 1))
    return PrivacyLossDistribution(pmf)


def _gdp(release: Release, delta: float, interval: float | None) -> float:
    """Exact: the profile of one Gaussian mechanism with noise multiplier / sqrt(count)."""
    total = release.noise_multiplier / math.sqrt(release.count)

    def excess(epsilon: float) -> float:
        return float(gaussian_profile(np.array([epsilon]), total)[0]) - delta

    if excess(0.0) <= 0:
        return 0.0
    reach = 1 / (2 * total**2) + math.sqrt(-2 * math.log(delta)) / total
    return float(root_scalar(excess, bracket=(0.0, reach), xtol=1e-12).root)


def _pld(release: Release, delta: float, interval: float | None) -> float:
    """Numerical composition; dominating pairs by Zhu, Dong, Wang 2022 (arXiv:2106.08567)."""
    parts = release.parts
    if max(_largest_loss(part.noise_multiplier) for part in parts) > HOPELESS:
        return math.inf
    if len(parts) > 1:
        interval = interval or COARSE  # distributions are composed on one grid
    losses = [privacy_loss(part, interval).self_compose(part.count) for part in parts]
    return float(functools.reduce(PrivacyLossDistribution.compose, losses).get_epsilon_for_delta(delta))


def _rdp(release: Release, delta: float, interval: float | None) -> float:
    """Renyi bound; subsampling by Wang, Balle, Kasiviswanathan 2019 (arXiv:1808.00087)."""
    step: dp_accounting.DpEvent = dp_accounting.GaussianDpEvent(release.noise_multiplier)
    if release.sample_rate < 1:
        step = dp_accounting.SampledWithoutReplacementDpEvent(round(1 / release.sample_rate), 1, step)
    accountant = rdp.RdpAccountant(RDP_ORDERS, dp_accounting.NeighboringRelation.REPLACE_ONE)
    return float(accountant.compose(step, release.count).get_epsilon(delta))


ACCOUNTANTS: dict[str, Accountant] = {
    "gdp": _gdp,
    "pld": _pld,
    "rdp": _rdp,
}


def epsilon(event: Event, delta: float, *, accountant: str, interval: float | None = None) -> float:
    """Epsilon of `event` at `delta` under replace-one adjacency; 0 steps cost 0.

    Raises ConfigError where the accountant has no theorem for this event.
    """
    if accountant not in event.accountants:
        raise ConfigError(
            f"private.accountant={accountant} does not apply to {type(event).__name__}; "
            f"choose one of {', '.join(event.accountants)}"
        )
    if event.steps == 0:
        return 0.0
    return ACCOUNTANTS[accountant](event.release, delta, interval)


def as_published(event: SharedDraw, delta: float) -> float:
    """What the published analysis claims: each row amplified alone. Not an epsilon."""
    rows_apart = IndependentDraws(event.noise_multiplier, event.steps, event.discriminators, event.rows)
    return epsilon(rows_apart, delta, accountant="rdp")


def noise_for(event: Event, target: float, delta: float, *, accountant: str) -> float:
    """The smallest noise multiplier (to 0.1%, rounded up) at which `event` costs at most `target`."""

    def cost(noise: float) -> float:
        return epsilon(replace(event, noise_multiplier=noise), delta, accountant=accountant)

    low = high = event.noise_multiplier
    while cost(high) > target:
        low, high = high, high * 2
    while low == high or cost(low) <= target:
        low, high = low / 2, low
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high


def steps_for(event: Event, target: float, delta: float, *, accountant: str, at_most: int) -> int:
    """The largest number of steps, up to `at_most`, that costs at most `target`; 0 where not even one fits.

    The bound is the caller's: numerical accountants take longer the more steps they compose.
    """

    def fits(steps: int) -> bool:
        return epsilon(replace(event, steps=steps), delta, accountant=accountant) <= target

    low, high = 0, min(event.steps, at_most)
    while fits(high):
        if high == at_most:
            return at_most
        low, high = high, min(2 * high, at_most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
