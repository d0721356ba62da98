"""Several repetitions side by side: each batch has one part for each of them.

The repetitions share the images but not their colours nor their order, so a
batch is a tuple of tensors [repetitions, batch, ...].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from triptych.data.prepared import Split
from triptych.data.resume import EpochSampler, ResumableDataModule, derived_seed

Batch = tuple[Tensor, ...]
Images = UInt8[np.ndarray, "n channels height width"]


def stack(
    images: Sequence[Images],
) -> UInt8[Tensor, "r n channels height width"]:
    """The images of every repetition in one tensor."""
    return torch.from_numpy(np.stack(images))


def pick(tensor: Tensor, index: Int64[Tensor, "r batch"]) -> Tensor:
    """`tensor[r, index[r]]` for every repetition r: [r, n, ...] to [r, batch, ...]."""
    return tensor[torch.arange(len(index))[:, None], index]


def orders(repetitions: int, size: int, *, seed: int) -> Int64[Tensor, "r n"]:
    """One fixed permutation a repetition; the sampler shuffles on top, in common."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(size, generator=generator) for _ in range(repetitions)])


class SourceDataset(Dataset):
    """Batches (images, labels, index) of the labelled source."""

    def __init__(self, splits: Sequence[Split], *, seed: int, shuffle: bool = True) -> None:
        self.images = stack([split.images for split in splits])
        self.labels = torch.from_numpy(np.stack([split.labels for split in splits]))
        self.order = orders(len(splits), len(self), seed=seed)
        if not shuffle:
            self.order = torch.arange(len(self)).expand(len(splits), -1)

    def __len__(self) -> int:
        return self.images.shape[1]

    def __getitems__(self, positions: list[int]) -> Batch:
        index = self.order[:, positions]
        return pick(self.images, index), pick(self.labels, index), index


class TargetDataset(Dataset):
    """Batches (images, index, source images, source labels): the target has no labels.

    An epoch is one pass over the target. Beside each part of the target comes an
    equally large part of the source, in a random order of its own: the source is
    repeated where it is smaller than the target, and cut where it is larger.
    """

    def __init__(
        self,
        target: Sequence[Images],
        source: Sequence[Split],
        *,
        seed: int,
    ) -> None:
        self.images = stack(target)
        self.order = orders(len(target), len(self), seed=seed)
        self.source = SourceDataset(source, seed=derived_seed(seed, 1))

    def __len__(self) -> int:
        return self.images.shape[1]

    def __getitems__(self, positions: list[int]) -> Batch:
        index = self.order[:, positions]
        images, labels, _ = self.source.__getitems__([i % len(self.source) for i in positions])
        return pick(self.images, index), index, images, labels


def _as_is(batch: Any) -> Any:  # noqa: ANN401  # torch's type; the dataset has made the batch
    return batch


class SourceDataModule(ResumableDataModule):
    """The labelled source: training and test splits of every repetition."""

    def __init__(
        self,
        train: Sequence[Split],
        test: Sequence[Split],
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        self.train = SourceDataset(train, seed=derived_seed(seed, 0), shuffle=shuffle)
        self.test = SourceDataset(test, seed=derived_seed(seed, 0))
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(len(self.train), seed=self.seed, shuffle=self.shuffle)
        return self.loader(self.train, self.batch_size, sampler, collate_fn=_as_is)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.test, 4096, collate_fn=_as_is)


class TargetDataModule(ResumableDataModule):
    """The unlabelled target of every repetition, with the labelled source beside it."""

    def __init__(
        self,
        target: Sequence[Images],
        source: Sequence[Split],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.train = TargetDataset(target, source, seed=seed)
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(len(self.train), seed=self.seed)
        return self.loader(self.train, self.batch_size, sampler, collate_fn=_as_is)
