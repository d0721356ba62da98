"""Prepared splits as Lightning sees them."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from triptych.data.prepared import Split
from triptych.data.processes import ranks
from triptych.data.resume import EpochSampler, ResumableDataModule, SharedSampler


def to_dataset(split: Split) -> TensorDataset:
    """Images as uint8 [n channels height width] and labels [n]; networks scale to [0, 1]."""
    return TensorDataset(torch.from_numpy(split.images), torch.from_numpy(split.labels))


class SplitDataModule(ResumableDataModule):
    """Batches of a training split in resumable order, and of an optional validation split.

    Processes that train together share out each training batch, and drop the last partial one.
    """

    def __init__(
        self,
        train: Split,
        validation: Split | None = None,
        *,
        batch_size: int,
        seed: int,
        drop_last: bool = False,
    ) -> None:
        super().__init__()
        self.train = train
        self.batch_size, self.seed, self.drop_last = batch_size, seed, drop_last
        if validation:  # Lightning warns of an unused loader, so there is none
            self.val_dataloader = lambda: DataLoader(to_dataset(validation), 1024)

    def train_dataloader(self) -> DataLoader:
        if ranks() > 1:
            shared = SharedSampler(len(self.train), seed=self.seed, batch_size=self.batch_size)
            return self.loader(to_dataset(self.train), shared.part, shared)
        sampler = EpochSampler(len(self.train), seed=self.seed)
        return self.loader(to_dataset(self.train), self.batch_size, sampler, drop_last=self.drop_last)
