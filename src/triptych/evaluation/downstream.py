"""Classifiers trained on samples and tested on real images: Avg and Calibrated accuracy.

The suite of the published evaluation (Chen, Orekondy, Fritz 2020, section 6)
by scikit-learn and XGBoost.
"""

import csv
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import joblib
import numpy as np
from jaxtyping import Float32
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm
from xgboost import XGBClassifier

from triptych.data.files import write_atomic
from triptych.data.prepared import Split

Rows = Mapping[str, tuple[float, float]]  # classifier: accuracy trained on synthetic, trained on real


@runtime_checkable
class Estimator(Protocol):
    """What the suite asks of a scikit-learn classifier."""

    def fit(self, images: np.ndarray, labels: np.ndarray, /) -> object: ...

    def predict(self, images: np.ndarray, /) -> Any: ...  # noqa: ANN401  # as untyped as the library


def suite(seed: int) -> dict[str, Estimator]:
    """The classifiers by name, unfitted, with the published settings."""
    return {
        "logistic_regression": LogisticRegression(max_iter=1000),
        "random_forest": RandomForestClassifier(100, random_state=seed),
        "gaussian_nb": GaussianNB(),
        "bernoulli_nb": BernoulliNB(binarize=0.5),
        "linear_svc": LinearSVC(random_state=seed),
        "decision_tree": DecisionTreeClassifier(random_state=seed),
        "lda": LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.5),
        "adaboost": AdaBoostClassifier(random_state=seed),
        "bagging": BaggingClassifier(random_state=seed),
        "gbm": GradientBoostingClassifier(subsample=0.1, n_estimators=50, random_state=seed),
        "xgboost": XGBClassifier(n_jobs=1, random_state=seed),
        "mlp": MLPClassifier(random_state=seed),
    }


def flat(split: Split) -> Float32[np.ndarray, "n pixels"]:
    """Pixels in [0, 1], one row an image."""
    return split.images.reshape(len(split), -1).astype(np.float32) / 255


def fit_and_score(classifier: Estimator, train: Split, test: Split) -> float:
    """Accuracy on `test` of `classifier` trained on `train`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those that stop before convergence do so as published
        classifier.fit(flat(train), train.labels)
    return float(accuracy_score(test.labels, classifier.predict(flat(test))))


def fit_suite(
    train: Split, test: Split, *, seed: int, threads: int = 1, progress: bool = True
) -> dict[str, float]:
    """Accuracy on `test` of every classifier trained on `train`, `threads` of them at a time."""
    work = (joblib.delayed(fit_and_score)(classifier, train, test) for classifier in suite(seed).values())
    running = joblib.Parallel(n_jobs=threads, return_as="generator")(work)
    scores: list[Any] = list(tqdm(running, "classifiers", total=len(suite(seed)), disable=not progress))
    return dict(zip(suite(seed), scores, strict=True))


def side_by_side(synthetic: Mapping[str, float], real: Mapping[str, float]) -> Rows:
    """Each classifier's accuracy trained on synthetic and on real images."""
    return {name: (score, real[name]) for name, score in synthetic.items()}


def summarise(rows: Rows) -> dict[str, float]:
    """MLP, Avg and Calibrated accuracy; the last is the mean of the ratios synthetic / real."""
    synthetic, real = np.array(list(rows.values())).T
    return {
        "downstream_mlp_accuracy": rows["mlp"][0],
        "real_mlp_accuracy": rows["mlp"][1],
        "downstream_avg_accuracy": float(synthetic.mean()),
        "real_avg_accuracy": float(real.mean()),
        "calibrated_accuracy": float((synthetic / real).mean()),
    }


def write_rows(path: Path, rows: Rows) -> None:
    """One line a classifier."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["classifier", "synthetic", "real"])
    writer.writerows((name, *scores) for name, scores in rows.items())
    write_atomic(path, text.getvalue().encode())
