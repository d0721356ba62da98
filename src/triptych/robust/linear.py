"""The theory: entropy minimisation of a linear classifier, in closed form.

A binary classifier sign(w·x) with unit w sees the signal x1 and the spurious x2.
On one component of the target, w·x is normal with mean m and standard deviation
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
class Gaussians:
    """A target of two classes: x = ±mean + N(0, diag(sd²)); a spurious axis has mean 0."""

    mean: FloatArray
    sd: FloatArray

    def projection(self, w: FloatArray) -> tuple[float, float]:
        """Mean and standard deviation of w·x in the positive class."""
        return float(w @ self.mean), float(np.sqrt(w**2 @ self.sd**2))

    def accuracy(self, w: FloatArray) -> float:
        """Share of the target that sign(w·x) classifies rightly."""
        m, s = self.projection(w)
        return float(ndtr(m / s))

    def bayes(self) -> FloatArray:
        """The best unit w."""
        w = self.mean / self.sd**2
        return w / np.linalg.norm(w)

    def gradient(self, w: FloatArray) -> FloatArray:
        """Gradient in w of E exp(-|w·x|); both classes contribute the same."""
        m, s = self.projection(w)
        return dr_dm(m, s) * self.mean + dr_ds(m, s) * self.sd**2 * w / s


def descend(target: Gaussians, w: FloatArray, *, steps: int, step_size: float) -> FloatArray:
    """Projected gradient descent on the unit sphere: w after 0, 1, ..., `steps` steps."""
    w = w / np.linalg.norm(w)
    path = [w]
    for _ in range(steps):
        w = w - step_size * target.gradient(w)
        w = w / np.linalg.norm(w)
        path.append(w)
    return np.stack(path)
