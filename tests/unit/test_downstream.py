"""The suite of classifiers by which the published tables compare synthetic training sets."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from triptych.data.prepared import Split
from triptych.evaluation.downstream import (
    fit_and_score,
    fit_suite,
    side_by_side,
    suite,
    summarise,
    write_rows,
)


def blobs(seed: int, shift: int = 0) -> Split:
    """Ten classes, each a bright pixel of its own; labels moved by `shift`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(120) % 10
    images = rng.integers(0, 60, (120, 1, 4, 4)).astype(np.uint8)
    images.reshape(120, 16)[np.arange(120), labels] = 250
    return Split(images, (labels + shift) % 10)


def test_calibrated_accuracy_is_the_mean_of_ratios():
    """Not the ratio of means: a weak classifier counts as much as a strong one."""
    summary = summarise({"mlp": (0.5, 1.0), "lda": (0.4, 0.5)})
    assert summary["calibrated_accuracy"] == pytest.approx((0.5 + 0.8) / 2)
    assert summary["downstream_avg_accuracy"] == pytest.approx(0.45)
    assert summary["real_avg_accuracy"] == pytest.approx(0.75)
    assert (summary["downstream_mlp_accuracy"], summary["real_mlp_accuracy"]) == (0.5, 1.0)


def test_each_column_is_trained_on_its_own_set():
    """Swapped training sets would report real accuracy as the synthetic one."""
    synthetic, real = (fit_suite(x, blobs(2), seed=0, progress=False) for x in (blobs(0, shift=1), blobs(1)))
    rows = side_by_side(synthetic, real)
    assert list(rows) == list(suite(0))
    assert rows["logistic_regression"] == (0.0, 1.0)
    assert rows["random_forest"][0] < 0.1 < 0.9 < rows["random_forest"][1]


def test_samples_are_judged_on_the_test_split():
    """A classifier that knows the test split by heart is right on it, and on nothing else."""
    assert fit_and_score(LogisticRegression(max_iter=1000), blobs(0), blobs(3)) == 1.0
    assert fit_and_score(LogisticRegression(max_iter=1000), blobs(0), blobs(3, shift=2)) == 0.0


def test_every_classifier_has_its_line(tmp_path):
    """Avg hides which classifier failed."""
    write_rows(tmp_path / "rows.csv", {"lda": (0.25, 0.5), "mlp": (0.5, 1.0)})
    assert (tmp_path / "rows.csv").read_text() == "classifier,synthetic,real\nlda,0.25,0.5\nmlp,0.5,1.0\n"
