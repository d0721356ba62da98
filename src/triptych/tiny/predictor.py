"""What a subnet is worth without running it: ridge regression on its choices.

Learned is the mean log-likelihood of held-out labels rather than the share of
correct answers: every image counts by how sure the answer was, so that two
measurements of the same subnets agree far better (`benchmarks/predictor.py`).

Once-for-All predicts with a small network; the choices' effects are close to
additive on the tasks here, and a linear model needs fewer measured subnets.
Chosen by leave-one-out error, judged by the rank correlation out of fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from numpy import ndarray as Array
from scipy.stats import kendalltau
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from triptych.config.tiny import SearchConfig
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.search import Candidate, Evolution

PENALTIES = np.logspace(-2, 3, 11)
FOLDS = 5


@dataclass(frozen=True)
class Predictor:
    """`rank_correlation` is Kendall's tau on subnets that the fit had not seen."""

    space: SearchSpace
    model: RidgeCV
    rank_correlation: float

    def __call__(self, arch: ArchConfig) -> float:
        """Predicted score; not confined to the range of what was measured."""
        return float(self.model.predict(features(self.space, arch)[None])[0])


def fit_predictor(space: SearchSpace, archs: Sequence[ArchConfig], scores: Sequence[float]) -> Predictor:
    """Fit on measured subnets, of which at least `FOLDS` are needed."""
    x = np.stack([features(space, arch) for arch in archs])
    y = np.array(scores)
    unseen = cross_val_predict(RidgeCV(PENALTIES), x, y, cv=FOLDS)
    tau = kendalltau(unseen, y).statistic  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
    return Predictor(space, RidgeCV(PENALTIES).fit(x, y), float(np.nan_to_num(tau)))


def search(
    evolution: Evolution,
    config: SearchConfig,
    score_of: Callable[[ArchConfig], float],
    *,
    progress: bool = False,
) -> tuple[Candidate, dict[str, float]]:
    """The most accurate measured subnet, and what is known of the predictor where one was asked for.

    With `config.predictor_samples`, so many random subnets are measured, the
    evolution goes by the predictor of their `score_of`, and its best
    `config.parents` are measured: what is reported was never only predicted.
    """
    if not config.predictor_samples:
        return evolution.run(config, progress=progress), {}
    seen = [candidate.arch for candidate in evolution.sample(config.predictor_samples)]
    predictor = fit_predictor(evolution.space, seen, [score_of(arch) for arch in seen])
    guesses = replace(evolution, accuracy_of=predictor, evaluated={})
    guesses.run(config, progress=progress)
    for guess in sorted(guesses.evaluated.values(), key=lambda c: c.rank, reverse=True)[: config.parents]:
        evolution.evaluate(guess.arch, guess.cost)
    best = max(evolution.evaluated.values(), key=lambda c: c.rank)
    return best, {
        "predictor_rank_correlation": predictor.rank_correlation,
        "subnets_predicted": len(guesses.evaluated),
    }


def features(space: SearchSpace, arch: ArchConfig) -> Float64[Array, " features"]:
    """One-hot depths, and one-hot kernel size and expand ratio of each block; zeros where there is none."""
    values: list[float] = []
    for stage, blocks in zip(space.stages, arch.stages, strict=True):
        values += [len(blocks) == depth for depth in stage.depths]
        for i in range(stage.depths[-1]):
            block = blocks[i] if i < len(blocks) else None
            values += [block is not None and block.kernel_size == k for k in space.kernel_sizes]
            values += [block is not None and block.expand_ratio == e for e in space.expand_ratios]
    return np.array(values, np.float64)
