"""The theory against integrals, differences and samples."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from triptych.robust.linear import Mixture, descend, dr_dm, dr_ds, r, threshold, two_classes

VECTORS = [
    (0.0, 1.0, 0.523157, -0.274728, 0.0),
    (0.5, 0.5, 0.600047, -0.183918, -0.350422),
    (1.0, 0.5, 0.408140, 0.096088, -0.369886),
    (1.0, 1.0, 0.405224, -0.078717, -0.201306),
    (2.0, 1.0, 0.204175, 0.096193, -0.171284),
]
POINTS = [(m, s) for m, s, *_ in VECTORS] + [(0.3, 0.1), (4.0, 3.0), (0.0, 6.0)]


@pytest.mark.parametrize(("m", "s", "value", "in_s", "in_m"), VECTORS)
def test_published_vectors(m: float, s: float, value: float, in_s: float, in_m: float):
    """Six decimals, computed elsewhere."""
    assert r(m, s) == pytest.approx(value, abs=6e-7)
    assert dr_ds(m, s) == pytest.approx(in_s, abs=6e-7)
    assert dr_dm(m, s) == pytest.approx(in_m, abs=6e-7)


@pytest.mark.parametrize(("m", "s"), POINTS)
def test_r_is_the_integral_that_it_claims(m: float, s: float):
    """E exp(-|z|) over a normal density, split where the integrand has its kink."""
    integral = sum(
        quad(lambda z: np.exp(-abs(z)) * norm.pdf(z, m, s), a, b)[0] for a, b in ((-np.inf, 0), (0, np.inf))
    )
    assert r(m, s) == pytest.approx(integral, rel=1e-7)


@pytest.mark.parametrize(("m", "s"), POINTS)
def test_derivatives_are_those_of_r(m: float, s: float):
    """Central differences."""
    h = 1e-5
    assert dr_dm(m, s) == pytest.approx((r(m + h, s) - r(m - h, s)) / (2 * h), abs=1e-8)
    assert dr_ds(m, s) == pytest.approx((r(m, s + h) - r(m, s - h)) / (2 * h), abs=1e-8)


def test_r_of_samples():
    """The expectation that training estimates by a mean."""
    z = np.random.default_rng(0).normal(1.0, 0.5, 400_000)
    sample = np.exp(-np.abs(z))
    assert r(1.0, 0.5) == pytest.approx(sample.mean(), abs=4 * sample.std() / np.sqrt(len(z)))


def test_r_stays_finite_where_its_factors_overflow():
    """exp(s²/2) alone leaves the range of float64 at s = 38."""
    assert r(1.0, 60.0) == pytest.approx(2 * norm.pdf(1.0 / 60.0) / 60.0, rel=1e-3)


@pytest.mark.parametrize(
    ("s", "ratio"), [(0.1, 2.139), (0.25, 1.781), (0.5, 1.523), (1.0, 1.301), (2.0, 1.140)]
)
def test_threshold_separates_shrinking_from_growing(s: float, ratio: float):
    """Above it the gradient shrinks the spurious direction, below it stretches it."""
    assert threshold(s) == pytest.approx(ratio, abs=6e-4)
    assert dr_ds(1.01 * ratio * s, s) > 0 > dr_ds(0.99 * ratio * s, s)


TARGET = two_classes(np.array([2.0, 0.0]), np.array([0.5, 1.0]))
BAYES = np.array([1.0, 0.0])
DECENT = np.array([0.8, 0.6])  # uses the spurious axis, yet classifies 98% rightly
# Two components of the signal a class, of unequal shares; the two axes of the spurious part are correlated.
SIGNALS = Mixture(
    shares=np.array([0.3, 0.2, 0.1, 0.4]),
    classes=np.array([1.0, 1.0, -1.0, -1.0]),
    means=np.array([[1.5, 0, 0], [3, 0, 0], [-2, 0, 0], [-3.5, 0, 0]]),
    covariances=np.stack([np.array([[s**2, 0, 0], [0, 1, 0.5], [0, 0.5, 2]]) for s in (0.3, 0.4, 0.3, 0.5)]),
)
# The spurious axis in two far clusters, in either class: its law is not log-concave.
CLUSTERS = Mixture(
    shares=np.full(4, 0.25),
    classes=np.array([1.0, 1.0, -1.0, -1.0]),
    means=np.array([[2.0, 10], [2, -10], [-2, 10], [-2, -10]]),
    covariances=np.stack([np.diag([0.25, 0.01])] * 4),
)


def drawn(target: Mixture, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples and their classes."""
    rng = np.random.default_rng(0)
    of = rng.choice(len(target.shares), size, p=target.shares)
    roots = np.linalg.cholesky(target.covariances)
    noise = np.einsum("nij,nj->ni", roots[of], rng.normal(size=(size, target.means.shape[1])))
    return target.means[of] + noise, target.classes[of]


@pytest.mark.parametrize("target", [TARGET, SIGNALS, CLUSTERS], ids=["two classes", "signals", "clusters"])
def test_loss_of_a_mixture_is_the_mean_over_samples_and_its_gradient_the_difference(target: Mixture):
    """Monte Carlo within four standard errors, central differences within 1e-8."""
    w = np.array([0.6, -0.48, 0.64])[: target.means.shape[1]]
    x, y = drawn(target, 400_000)
    values, right = np.exp(-np.abs(x @ w)), np.sign(x @ w) == y
    for found, sample in ((target.loss(w), values), (target.accuracy(w), right)):
        assert found == pytest.approx(sample.mean(), abs=4 * sample.std() / np.sqrt(len(x)))
    h = 1e-6
    for axis in np.eye(len(w)):
        difference = target.loss(w + h * axis) - target.loss(w - h * axis)
        assert target.gradient(w) @ axis == pytest.approx(difference / (2 * h), abs=1e-8)


@pytest.mark.parametrize(
    ("target", "start"),
    [(TARGET, DECENT), (SIGNALS, np.array([0.75, 0.5, 0.4]))],
    ids=["two classes", "signals"],
)
def test_success_the_spurious_weight_falls_monotonically_to_zero(target: Mixture, start: np.ndarray):
    """The paper's theorem: separated components and a decent start reach the Bayes classifier."""
    path = descend(target, start, steps=500, step_size=0.1)
    spurious = np.linalg.norm(path[:, 1:], axis=1)
    assert np.all(np.diff(spurious) <= 1e-15)
    assert spurious[-1] == pytest.approx(0, abs=1e-6)
    best = target.accuracy(np.eye(len(start))[0])
    assert target.accuracy(path[-1]) == pytest.approx(best, abs=1e-9)
    assert target.accuracy(path[-1]) > target.accuracy(path[0]) + 0.01


def test_failure_a_classifier_that_ignores_the_signal_keeps_ignoring_it():
    """With w1 = 0 the mean is 0: the gradient in s is negative and no step leaves w = (0, 1)."""
    path = descend(TARGET, np.array([0.0, 1.0]), steps=100, step_size=0.1)
    np.testing.assert_array_equal(path[:, 0], 0)
    assert np.all(dr_ds(*TARGET.projections(path[-1])) < 0)


def test_failure_far_below_the_threshold_the_spurious_weight_grows():
    """A start that is hardly better than chance gets worse, although it sees the signal."""
    target = two_classes(np.array([0.3, 0.0]), np.array([0.5, 2.0]))
    path = descend(target, np.array([0.6, 0.8]), steps=300, step_size=0.1)
    assert path[-1, 1] > 0.99 > path[0, 1]
    assert target.accuracy(path[-1]) < target.accuracy(path[0])


def test_failure_isolated_clusters_make_the_spurious_weight_grow():
    """The gap between the clusters is a valley of the loss: accuracy goes to chance, whatever the signal."""
    path = descend(CLUSTERS, DECENT, steps=500, step_size=0.1)
    assert np.all(np.diff(path[:, 1]) >= 0)
    assert path[-1, 1] > 0.8 > path[0, 1]
    assert CLUSTERS.accuracy(path[-1]) == pytest.approx(0.5, abs=1e-3)


def sampled_gradient(objective: str, w: np.ndarray, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient in w of a mean over samples; `labels` are the current pseudo-labels."""
    z = x @ w
    if objective == "entropy":  # H(sigmoid(z)) with derivative -z sigmoid(z) sigmoid(-z)
        slope = -z / ((1 + np.exp(-z)) * (1 + np.exp(z)))
    elif objective == "exponential":
        slope = -np.sign(z) * np.exp(-np.abs(z))
    else:
        slope = -labels * np.exp(-labels * z)
    return slope @ x / len(x)


def self_train(objective: str, x: np.ndarray, w: np.ndarray, *, steps: int = 600) -> np.ndarray:
    """Projected gradient descent on samples; pseudo-labels are renewed every 20 steps."""
    path = [w / np.linalg.norm(w)]
    labels = np.sign(x @ path[0])
    for step in range(steps):
        if step % 20 == 0:
            labels = np.sign(x @ path[-1])
        w = path[-1] - 0.1 * sampled_gradient(objective, path[-1], x, labels)
        path.append(w / np.linalg.norm(w))
    return np.stack(path)


@pytest.mark.parametrize("objective", ["entropy", "exponential", "pseudo_label"])
def test_success_on_samples_whatever_the_objective(objective: str):
    """The three losses agree: the spurious weight vanishes up to sampling error."""
    x, y = drawn(TARGET, 20_000)
    path = self_train(objective, x, DECENT)
    assert abs(path[-1, 1]) < 0.02
    assert np.mean(np.sign(x @ path[-1]) == y) >= TARGET.accuracy(BAYES) - 1e-3


@pytest.mark.parametrize("objective", ["entropy", "exponential", "pseudo_label"])
def test_failure_on_samples_of_isolated_clusters_whatever_the_objective(objective: str):
    """The other side of the theorem's assumption, where nothing is computed in closed form."""
    x, y = drawn(CLUSTERS, 20_000)
    path = self_train(objective, x, DECENT)
    assert path[-1, 1] > DECENT[1]
    assert np.mean(np.sign(x @ path[-1]) == y) == pytest.approx(0.5, abs=0.02)
