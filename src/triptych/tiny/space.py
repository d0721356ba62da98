"""Stage one of TinyNAS: which search space to train.

Of the networks that fit the board, those with more computation tend to be more
accurate. So the best space is the one whose fitting subnets compute most on
average: MCUNet (NeurIPS 2020), section 3.1 and appendix C. The mean over a
handful of lucky subnets says little, hence the minimum share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.errors import ConfigError
from triptych.tiny.arch import SearchSpace
from triptych.tiny.cost import Costing, Limits


@dataclass(frozen=True)
class Survey:
    """One space, judged by a sample of its subnets; `macs` are those of the fitting ones, ascending."""

    space: SearchSpace
    samples: int
    macs: tuple[int, ...]

    @property
    def share(self) -> float:
        """Share of the sampled subnets that fit the board."""
        return len(self.macs) / self.samples

    @property
    def mean_macs(self) -> float:
        """Mean MACs of the fitting subnets; 0 where none fits."""
        return float(np.mean(self.macs)) if self.macs else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "width_mult": self.space.width_mult,
            "resolution": self.space.resolution,
            "subnets": self.space.subnets,
            "subnets_fitting": self.share,
            "mean_macs": self.mean_macs,
        }


def survey(
    space: SearchSpace, cost: Costing, limits: Limits, *, samples: int, rng: np.random.Generator
) -> Survey:
    """Draw `samples` subnets of `space` and keep the MACs of those that fit."""
    costs = [cost(space, space.random(rng)) for _ in range(samples)]
    return Survey(space, samples, tuple(sorted(c.macs for c in costs if limits.fit(c))))


def choose(surveys: Sequence[Survey], min_share: float) -> Survey:
    """The space with the largest mean MACs among those where at least `min_share` of the subnets fit.

    Raises ConfigError where no space has enough.
    """
    enough = [each for each in surveys if each.macs and each.share >= min_share]
    if not enough:
        best = max(surveys, key=lambda each: each.share)
        raise ConfigError(
            f"no search space has a share of tiny.space.min_share={min_share} subnets that fit the board; "
            f"the best is {best.share:.4f} (width_mult={best.space.width_mult}, "
            f"resolution={best.space.resolution}). Choose a larger board, smaller width_mults or "
            "resolutions, or more samples"
        )
    return max(enough, key=lambda each: each.mean_macs)
