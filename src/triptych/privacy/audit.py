"""Whether a sanitiser keeps its promise, told from what it returns and not from its source.

Many canaries ride in one call: each is a huge gradient whose sign is a coin
flip, and an adversary guesses the coin from the release (Steinke, Nasr,
Jagielski 2023, arXiv:2305.08846). A release that is mu-GDP lets nobody guess
right more often than `Phi(mu/2)` (Dong, Roth, Su 2019, arXiv:1905.02383), so
the share of right guesses bounds mu, and with it epsilon, from below. Three
direct measurements find the smaller faults that guessing misses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.special import ndtri
from scipy.stats import beta
from torch import Tensor

from triptych.privacy.accounting import epsilon
from triptych.privacy.mechanism import FullEnsemble
from triptych.privacy.noise import RandomSource

HUGE = 1e4  # canary norm, in clip norms
FEATURES = 64
CANARIES = 10_000
ATTACKS = 3
STD_TOLERANCE = 0.006
CORRELATION_TOLERANCE = 0.036
Scores = Float64[np.ndarray, " trials"]


@runtime_checkable
class Sanitizer(Protocol):
    """The signature of `sanitize`."""

    def __call__(
        self,
        grads: Float[Tensor, "releases blocks features"],
        /,
        *,
        clip_norm: float,
        noise_multiplier: float,
        source: RandomSource,
    ) -> Float[Tensor, "releases features"]: ...


class Silence:
    """A source without noise, to see what the noise covers."""

    name = "silence"

    def normal(self, *shape: int) -> Float64[Tensor, "..."]:
        return torch.zeros(*shape, dtype=torch.float64)

    def draws(self, count: int, choices: int) -> Tensor:
        return torch.zeros(count, dtype=torch.int64)


@dataclass(frozen=True)
class Audit:
    """What was measured; `faults` names what contradicts the promise."""

    epsilon_claimed: float  # of one release
    epsilon_lower_bound: float  # at the asked confidence
    noise_std_ratio: float  # measured / promised
    row_correlation: float  # largest between noise of two rows or two calls
    clipped_norm_ratio: float  # largest norm that leaves / clip norm; infinite where not finite

    @property
    def faults(self) -> tuple[str, ...]:
        """Empty where the sanitiser passes."""
        found = {
            "canaries": self.epsilon_lower_bound > self.epsilon_claimed,
            "noise_std": abs(self.noise_std_ratio - 1) > STD_TOLERANCE,
            "correlation": self.row_correlation > CORRELATION_TOLERANCE,
            "clip": self.clipped_norm_ratio > 1 + 1e-5,
        }
        return tuple(name for name, wrong in found.items() if wrong)


def audit(
    sanitizer: Sanitizer,
    *,
    clip_norm: float,
    noise_multiplier: float,
    source: RandomSource,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> Audit:
    """Audit one release of `sanitizer`. Choose `noise_multiplier` for an epsilon of about 1 (3.7)."""

    def release(grads: Tensor, noise: RandomSource = source) -> Tensor:
        return sanitizer(grads, clip_norm=clip_norm, noise_multiplier=noise_multiplier, source=noise).double()

    guessed = _right_guesses(release, clip_norm)
    promise = noise_multiplier * 2 * clip_norm
    still = torch.zeros(16, 1, 20_000)
    first, second = release(still), release(still)
    return Audit(
        epsilon(FullEnsemble(noise_multiplier, 1), delta, accountant="gdp"),
        _epsilon_from_guesses(guessed, delta, (1 - confidence) / ATTACKS),
        float(torch.cat([first, second]).std()) / promise,
        _largest_correlation(torch.cat([first, second])),
        _largest_norm(release, clip_norm) / clip_norm,
    )


def _right_guesses(release: Callable[[Tensor], Tensor], clip_norm: float) -> int:
    """The most right guesses of three adversaries.

    They look at the canary's row alone, subtract the row beside it, which
    carries nothing, or subtract the same row of a second call without canaries.
    """
    signs = torch.randint(2, (CANARIES,)) * 2.0 - 1
    grads = torch.zeros(2 * CANARIES, 2, FEATURES)  # odd rows are empty; block 1 is another member's
    grads[::2, 0] = (signs[:, None] * HUGE * clip_norm / math.sqrt(FEATURES)).float()
    released, replayed = release(grads), release(torch.zeros_like(grads))
    views = (released[::2], released[::2] - released[1::2], released[::2] - replayed[::2])
    return max(int(((view.sum(1) > 0) == (signs > 0)).sum()) for view in views)


def _epsilon_from_guesses(right: int, delta: float, risk: float) -> float:
    """Lower bound on epsilon of a Gaussian mechanism that allows `right` right guesses (Clopper, Pearson)."""
    share = float(beta.ppf(risk, right, CANARIES - right + 1)) if right else 0.0
    mu = 2 * float(ndtri(share))
    return epsilon(FullEnsemble(1 / mu, 1), delta, accountant="gdp") if mu > 0 else 0.0


def _largest_correlation(noise: Float64[Tensor, "rows features"]) -> float:
    """Between any two rows, signs ignored; 0.036 is 5 standard errors at 20,000 features."""
    return float((torch.corrcoef(noise) - torch.eye(len(noise))).abs().nan_to_num(1.0).max())


def _largest_norm(release: Callable[[Tensor, RandomSource], Tensor], clip_norm: float) -> float:
    """What leaves, without noise, for gradients of all sizes."""
    rows = torch.stack(
        [torch.full((1, FEATURES), clip_norm * size) for size in (0.0, 1e-20, 1.0, HUGE, 1e30)]
    )
    broken = torch.stack([torch.full((1, FEATURES), value) for value in (math.nan, math.inf, -math.inf)])
    norms = release(torch.cat([rows, broken]), Silence()).norm(dim=1)
    return float(norms.nan_to_num(math.inf).max())


def epsilon_from_scores(present: Scores, absent: Scores, delta: float) -> float:
    """95% lower bound on epsilon of any mechanism, from scores with and without the record.

    The threshold is chosen on the first half of the trials and judged on the
    second: `log((TPR - delta) / FPR)` with Clopper-Pearson limits of both rates.
    """
    half = len(present) // 2
    thresholds = np.quantile(np.concatenate([present[:half], absent[:half]]), np.linspace(0.5, 0.999, 50))
    best = max(thresholds, key=lambda t: _log_ratio(present[:half] > t, absent[:half] > t, delta))
    return _log_ratio(present[half:] > best, absent[half:] > best, delta)


def _log_ratio(hits: np.ndarray, alarms: np.ndarray, delta: float) -> float:
    n, hit, alarm = len(hits), int(hits.sum()), int(alarms.sum())
    low = float(beta.ppf(0.025, hit, n - hit + 1)) if hit else 0.0
    high = float(beta.ppf(0.975, alarm + 1, n - alarm)) if alarm < n else 1.0
    return max(math.log((low - delta) / high), 0.0) if low > delta else 0.0
