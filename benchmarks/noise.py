"""Whether the noise of `private.secure_rng` is what the theorems assume: independent, normal, uniform draws.

    python -m benchmarks.noise [values]

P-values of several tests, each of a chance to fail by itself; a source at fault fails
by far. Half of the values come from a second call.
"""

import sys
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64
from scipy import stats

from triptych.privacy.noise import RandomSource, SecureSource

CHUNK = 10**6  # values of a call
BINS = 1000
CHOICES = 1000  # of a draw, as of discriminators

Values = Float64[np.ndarray, " n"]


def p_values(first: Values, second: Values) -> dict[str, float]:
    """Of the hypotheses that both are standard normal, without repetitions, and independent."""
    values = np.concatenate([first, second])
    counts = np.histogram(stats.norm.cdf(values), BINS, (0, 1))[0]
    return {
        "normal, Kolmogorov-Smirnov": stats.kstest(values, "norm").pvalue,
        f"normal, chi-square of {BINS} equal bins": stats.chisquare(counts).pvalue,
        "mean, z-test": _two_sided(values.mean() * np.sqrt(len(values))),
        "standard deviation, chi-square": _chi_square(values),
        **{f"beyond {bound} deviations, binomial": _tail(values, bound) for bound in (2, 3, 4, 5)},
        "two calls, correlation": _uncorrelated(first, second),
        "two calls, correlation of squares": _uncorrelated(first**2, second**2),
        "neighbours, correlation": _uncorrelated(values[:-1], values[1:]),
        "neighbours, correlation of squares": _uncorrelated(values[:-1] ** 2, values[1:] ** 2),
        "no value twice": float(len(np.unique(values)) == len(values)),
    }


def uniform_p_values(source: RandomSource, count: int) -> dict[str, float]:
    """Of the hypotheses that draws are uniform, one by one and in pairs of neighbours."""
    drawn = source.draws(count, CHOICES).numpy()
    coarse = drawn * 32 // CHOICES
    pairs = np.bincount(coarse[:-1:2] * 32 + coarse[1::2], minlength=32**2)
    shares = np.bincount(np.arange(CHOICES) * 32 // CHOICES) / CHOICES
    expected = np.outer(shares, shares).ravel() * pairs.sum()
    return {
        f"draws of {CHOICES}, chi-square": stats.chisquare(np.bincount(drawn, minlength=CHOICES)).pvalue,
        "pairs of draws, chi-square": stats.chisquare(pairs, expected).pvalue,
    }


def _two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def _chi_square(values: Values) -> float:
    """The sum of squares of n standard normal values has n degrees of freedom."""
    below = float(stats.chi2.cdf((values**2).sum(), len(values)))
    return 2 * min(below, 1 - below)


def _tail(values: Values, bound: float) -> float:
    seen, chance = int((np.abs(values) > bound).sum()), float(2 * stats.norm.sf(bound))
    return float(stats.binomtest(seen, len(values), chance).pvalue)


def _uncorrelated(first: Values, second: Values) -> float:
    return _two_sided(float(np.corrcoef(first, second)[0, 1]) * np.sqrt(len(first)))


def calls(source: RandomSource, count: int) -> Iterator[Values]:
    """`count` values by calls of a million."""
    for start in range(0, count, CHUNK):
        yield source.normal(min(CHUNK, count - start)).numpy()


def main(values: int = 10**7) -> None:
    """Measure and print."""
    source = SecureSource()
    first, second = (np.concatenate(list(calls(source, values // 2))) for _ in range(2))
    sys.stdout.write(f"{values:,} values, largest {max(np.abs(first).max(), np.abs(second).max()):.3f}\n")
    for name, value in {**p_values(first, second), **uniform_p_values(source, values // 10)}.items():
        sys.stdout.write(f"{name:42} p = {value:.4f}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
