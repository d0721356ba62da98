"""From the discriminators' opinion of generated rows to a gradient that may be used.

All ways end in `sanitize`; nothing else crosses from shards to generator.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from triptych.config.private import PrivateConfig
from triptych.data.partition import Shards
from triptych.data.processes import rank
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import RandomSource
from triptych.privacy.sanitize import sanitize
from triptych.private.budget import block_norm, terms
from triptych.private.ensemble import Ensemble, Images
from triptych.private.losses import input_gradient
from triptych.private.members import Picked
from triptych.private.ranks import collect, own, owned, parts_of, spread

Rows = Float[Tensor, "rows channels height width"]
RowLabels = Int[Tensor, " rows"]


def labels_seen(
    labels: Int[np.ndarray, " n"], shards: Shards, classes: int
) -> Bool[Tensor, "shards classes"]:
    """Which classes occur in each shard: private, and used only inside a clipped block."""
    seen = torch.zeros(len(shards), classes, dtype=torch.bool)
    return seen.scatter_(1, torch.from_numpy(labels[shards]), True)


@runtime_checkable
class Door(Protocol):
    """What the training loop knows of a release."""

    @property
    def exhausted(self) -> bool:
        """True where one more step would cost more than the budget."""
        ...

    def __call__(self, ensemble: Ensemble, fake: Rows, labels: RowLabels, *, step: int) -> Rows:
        """A direction for each generated row, paid for."""
        ...


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
        full = self.config.release == "full"
        slopes = self._all(ensemble, fake, labels) if full else self._drawn(ensemble, fake, labels)
        if rank() > 0:
            self.ledger.witness()
            return spread(torch.empty_like(fake))
        self.ledger.record(step)
        noisy = sanitize(
            slopes.flatten(1)[None] if full else slopes.flatten(1)[:, None],  # one release, or one a row
            clip_norm=block_norm(self.config),
            noise_multiplier=terms(self.config).event.noise_multiplier,  # what is certified is used
            source=self.source,
        )
        summed = self.config.discriminators if full else 1
        return spread((noisy / summed).reshape(fake.shape))

    def _all(self, ensemble: Ensemble, fake: Rows, labels: RowLabels) -> Images:
        """The block of every discriminator: what it says of every row."""
        members, chunk = self.config.discriminators, self.config.discriminator.chunk
        slopes = fake.new_zeros(members, *fake.shape)
        for part in own(parts_of(ensemble, members, chunk=chunk), members):
            rows, its_labels = fake.expand(len(part), *fake.shape), labels.expand(len(part), -1)
            slopes[part.members] = input_gradient(part, rows, its_labels)
        return collect(slopes) * self._speaks(torch.arange(members)[:, None], labels)

    def _drawn(self, ensemble: Ensemble, fake: Rows, labels: RowLabels) -> Rows:
        """What the secretly drawn discriminator says of each row; its time does not tell the draw."""
        shared = self.config.release == "shared"
        count = 1 if shared else len(fake)
        members = self.config.discriminators
        drawn = labels.new_empty(count) if rank() else self.source.draws(count, members).to(fake.device)
        spread(drawn)
        rows, its_labels = (fake[None], labels[None]) if shared else (fake[:, None], labels[:, None])
        slopes = input_gradient(Picked(ensemble, drawn), rows, its_labels).reshape(fake.shape)
        current = owned(drawn, members)[:, None, None, None]  # the other processes hold old copies
        return collect(slopes * current) * self._speaks(drawn, labels)

    def _speaks(self, members: Int[Tensor, "..."], labels: RowLabels) -> Float[Tensor, "... 1 1 1"]:
        """1 where a discriminator may judge the label of a row, 0 where it abstains."""
        seen = self.seen.to(labels.device)[members, labels]
        return (seen | (not self.config.abstain)).float()[..., None, None, None]
