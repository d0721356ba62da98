"""Batches for a whole ensemble: at every step, each discriminator sees images of its own shard."""

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from triptych.data.partition import Shards
from triptych.data.prepared import Split
from triptych.data.resume import EpochSampler, ResumableDataModule, derived_seed
from triptych.private.members import rotation

ShardImages = UInt8[Tensor, "repeats shards batch channels height width"]
ShardLabels = Int64[Tensor, "repeats shards batch"]
Batch = list[Tensor]  # of ShardImages and ShardLabels, as the loader delivers them


class StepBatches(Dataset):
    """Item t is the batches of step t, one a discriminator step; a function of (seed, t) alone.

    It holds the shards of the discriminators that train at t: all, or a group of `trained` in rotation.
    """

    def __init__(  # noqa: PLR0913  # a loader's shape and its place in the run
        self,
        split: Split,
        shards: Shards,
        *,
        steps: int,
        repeats: int,
        batch_size: int,
        seed: int,
        trained: int | None = None,
    ) -> None:
        self.images = torch.from_numpy(split.images)
        self.labels = torch.from_numpy(split.labels)
        self.shards = shards
        self.steps, self.repeats, self.batch_size, self.seed = steps, repeats, batch_size, seed
        self.trained = trained

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[ShardImages, ShardLabels]:
        rng = np.random.default_rng(derived_seed(self.seed, step))
        group = self.shards[rotation(step, len(self.shards), self.trained)]
        everything = np.broadcast_to(group, (self.repeats, *group.shape))
        chosen = torch.from_numpy(rng.permuted(everything, axis=2)[..., : self.batch_size])
        return self.images[chosen], self.labels[chosen]


class ShardDataModule(ResumableDataModule):
    """One epoch of `len(batches)` steps, in order."""

    def __init__(self, batches: StepBatches) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(len(self.batches), seed=self.batches.seed, shuffle=False)
        return self.loader(self.batches, None, sampler)
