"""The theory: entropy minimisation of a linear classifier, in closed form.

A binary classifier sign(w·x) with unit w sees the signal x1 and the spurious x2.
On one Gaussian component of the target, w·x is normal with mean m and standard deviation
s, and the loss is r(m, s) = E exp(-|w·x|), which behaves as the entropy does.
A step shrinks the spurious weight where the derivative in s is positive: where
m / s lies above `threshold(s)` (Chen, Wei, Kumar, Ma, arXiv 2006.10032, section
4). That is sufficient, not necessary: on the unit sphere the spurious weight
also falls where the signal's grows faster.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root_scalar
from scipy.special import log_ndtr, ndtr

FloatArray = NDArray[np.float64]
Real = float | np.float64 | FloatArray


def _parts(m: Real, s: Real) -> tuple[Real, Real]:
    """The halves of r, from w·x > 0 and from w·x < 0; logarithms keep large s finite."""
    m, s = np.asarray(m, np.float64), np.asarray(s, np.float64)
    above = np.exp(s**2 / 2 - m + log_ndtr(m / s - s))
    below = np.exp(s**2 / 2 + m + log_ndtr(-m / s - s))
    return above, below


def r(m: Real, s: Real) -> Real:
    """E exp(-|z|) for z ~ N(m, s²), s > 0."""
    above, below = _parts(m, s)
    return above + below


def dr_dm(m: Real, s: Real) -> Real:
    """Derivative of r in the mean."""
    above, below = _parts(m, s)
    return below - above


def dr_ds(m: Real, s: Real) -> Real:
    """Derivative of r in the standard deviation: s r - 2 φ(m / s)."""
    m, s = np.asarray(m, np.float64), np.asarray(s, np.float64)
    density = np.exp(-((m / s) ** 2) / 2) / np.sqrt(2 * np.pi)
    return s * r(m, s) - 2 * density


def threshold(s: float) -> float:
    """The ratio m / s above which the derivative in s is positive."""
    return root_scalar(lambda ratio: float(dr_ds(ratio * s, s)), bracket=(0, 6), xtol=1e-10).root


@dataclass(frozen=True)
class Mixture:
    """A target of Gaussian components, each of one class; w·x of a component is normal in turn."""

    shares: FloatArray  # [k], their sum is 1
    classes: FloatArray  # [k], -1 or 1
    means: FloatArray  # [k, d]
    covariances: FloatArray  # [k, d, d]

    def projections(self, w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of w·x in each component."""
        return self.means @ w, np.sqrt(self.covariances @ w @ w)

    def loss(self, w: FloatArray) -> float:
        """E exp(-|w·x|)."""
        return float(self.shares @ r(*self.projections(w)))

    def gradient(self, w: FloatArray) -> FloatArray:
        """Gradient of the loss in w."""
        m, s = self.projections(w)
        spread = (self.covariances @ w) / s[:, None]
        return (self.shares * dr_dm(m, s)) @ self.means + (self.shares * dr_ds(m, s)) @ spread

    def accuracy(self, w: FloatArray) -> float:
        """Share of the target that sign(w·x) classifies rightly."""
        m, s = self.projections(w)
        return float(self.shares @ ndtr(self.classes * m / s))


def two_classes(mean: FloatArray, sd: FloatArray) -> Mixture:
    """Components ±mean + N(0, diag(sd²)), the positive class first; a spurious axis has mean 0."""
    means, covariances = np.stack([mean, -mean]), np.stack([np.diag(sd**2)] * 2)
    return Mixture(np.full(2, 1 / 2), np.array([1.0, -1.0]), means, covariances)


def descend(target: Mixture, w: FloatArray, *, steps: int, step_size: float) -> FloatArray:
    """Projected gradient descent on the unit sphere: w after 0, 1, ..., `steps` steps."""
    w = w / np.linalg.norm(w)
    path = [w]
    for _ in range(steps):
        w = w - step_size * target.gradient(w)
        w = w / np.linalg.norm(w)
        path.append(w)
    return np.stack(path)
