"""G-PATE: discriminators vote on the direction of a projected gradient.

Long et al. 2021 (arXiv:1906.09338), Algorithm 1. The whole noisy histogram of
votes is released, so that the most voted bin and the confidence threshold are
post-processing, and epsilon depends on no data: the published analysis adds
noise to the threshold and the count apart, and its epsilon depends on the votes.
"""

import math

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from triptych.config.private import PrivateConfig
from triptych.config.rivals import GPATEConfig
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import RandomSource
from triptych.privacy.sanitize import perturb
from triptych.private.budget import terms
from triptych.private.ensemble import Ensemble, Images
from triptych.private.losses import input_gradient
from triptych.private.members import Part, cut
from triptych.private.release import RowLabels, Rows

Projected = Float[Tensor, "members rows directions"]


def bins(projected: Projected, settings: GPATEConfig) -> Int[Tensor, "members rows directions"]:
    """The bin of each value: equal ones in [-bound, bound], of which the outer reach to infinity.

    Every value has exactly one, also one that is not a number: the sensitivity rests on it.
    """
    scaled = (projected / settings.bound + 1) * settings.bins / 2
    whole = scaled.nan_to_num(nan=settings.bins / 2, posinf=settings.bins, neginf=0.0).floor()
    return whole.clamp(0, settings.bins - 1).long()


def histogram(
    votes: Int[Tensor, "members rows directions"], count: int
) -> Float64[Tensor, "rows directions bins"]:
    """How many members chose each of the `count` bins."""
    empty = torch.zeros(*votes.shape[1:], count, dtype=torch.float64, device=votes.device)
    return empty.scatter_add_(
        2, votes.movedim(0, 2), torch.ones_like(votes, dtype=torch.float64).movedim(0, 2)
    )


def winners(
    noisy: Float64[Tensor, "rows directions bins"], settings: GPATEConfig, threshold: float
) -> Float[Tensor, "rows directions"]:
    """The middle of the most voted bin; 0 where it has fewer than `threshold` votes."""
    most, chosen = noisy.max(2)
    middle = (2 * chosen + 1) * settings.bound / settings.bins - settings.bound
    return torch.where(most >= threshold, middle, 0.0).float()


def _slopes(part: Part, fake: Rows, labels: RowLabels) -> Images:
    """What every discriminator of `part` says of every row."""
    return input_gradient(part, fake.expand(len(part), *fake.shape), labels.expand(len(part), -1))


class VoteReleaser:
    """The one door: pays in the ledger, then perturbs the votes of all discriminators.

    Replacing one record changes the votes of one discriminator. Each of its
    `rows * directions` votes leaves one bin and enters another, so the
    histogram moves by at most sqrt(2 * rows * directions).
    """

    def __init__(self, config: PrivateConfig, ledger: Ledger, source: RandomSource, limit: int) -> None:
        self.config, self.ledger, self.source, self.limit = config, ledger, source, limit

    @property
    def exhausted(self) -> bool:
        """True where one more step would cost more than the budget."""
        return self.ledger.steps >= self.limit

    def __call__(self, ensemble: Ensemble, fake: Rows, labels: RowLabels, *, step: int) -> Rows:
        """The voted gradient of the loss of each row."""
        settings, members = self.config.gpate, self.config.discriminators
        pixels = fake[0].numel()
        directions = torch.randn(pixels, settings.directions, device=fake.device) / math.sqrt(pixels)
        votes = torch.cat(
            [
                bins(_slopes(part, fake, labels).flatten(2) @ directions, settings)
                for part in cut(ensemble, members, chunk=self.config.discriminator.chunk)
            ]
        )
        self.ledger.record(step)
        promise = terms(self.config)
        noisy = perturb(
            histogram(votes, settings.bins),
            sensitivity=promise.sensitivity,
            noise_multiplier=promise.event.noise_multiplier,
            source=self.source,
        )
        voted = winners(noisy, settings, settings.threshold * members)
        return (voted @ directions.T).reshape(fake.shape)
