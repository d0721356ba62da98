"""From the discriminators' opinion of generated rows to a gradient that may be used.

Both ways end in `sanitize`; nothing else crosses from shards to generator.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from triptych.config.private import PrivateConfig
from triptych.data.partition import Shards
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import RandomSource
from triptych.privacy.sanitize import sanitize
from triptych.private.budget import block_norm, terms
from triptych.private.ensemble import Ensemble
from triptych.private.losses import input_gradient

Rows = Float[Tensor, "rows channels height width"]
RowLabels = Int[Tensor, " rows"]


def labels_seen(
    labels: Int[np.ndarray, " n"], shards: Shards, classes: int
) -> Bool[Tensor, "shards classes"]:
    """Which classes occur in each shard: private, and used only inside a clipped block."""
    seen = torch.zeros(len(shards), classes, dtype=torch.bool)
    return seen.scatter_(1, torch.from_numpy(labels[shards]), True)


@dataclass
class Releaser:
    """The one door: pays in the ledger, then sanitises."""

    config: PrivateConfig
    ledger: Ledger
    source: RandomSource
    limit: int  # steps that the budget pays for
    seen: Bool[Tensor, "members classes"]  # the labels in each discriminator's shard

    @property
    def exhausted(self) -> bool:
        """True where one more step would cost more than the budget."""
        return self.ledger.steps >= self.limit

    def __call__(self, ensemble: Ensemble, fake: Rows, labels: RowLabels, *, step: int) -> Rows:
        """The noisy gradient of the mean loss of a row, averaged over discriminators."""
        config = self.config
        members = config.discriminators
        slopes = input_gradient(ensemble, fake.expand(members, *fake.shape), labels.expand(members, -1))
        if config.abstain:
            slopes = slopes * self.seen.to(fake.device)[:, labels, None, None, None]
        self.ledger.record(step)
        if config.release == "full":
            blocks = slopes.flatten(1)[None]  # one release: the sum of all discriminators' blocks
        else:
            # all are evaluated, so that the time of a step does not tell the secret draw
            drawn = self.source.draws(len(fake), members).to(fake.device)
            rows = labels.new_tensor(range(len(fake)))
            blocks = slopes[drawn, rows].flatten(1)[:, None]  # a release a row: one discriminator's block
        noise = terms(config).event.noise_multiplier  # what is certified is what is used
        noisy = sanitize(blocks, clip_norm=block_norm(config), noise_multiplier=noise, source=self.source)
        summed = members if config.release == "full" else 1
        return (noisy / summed).reshape(fake.shape)
