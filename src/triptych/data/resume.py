"""Training that continues after a kill as if nothing had happened.

Lightning restores weights, optimisers and counters, but not the loader's
position nor the random state. Two rules make a resumed run bit-identical on a
CPU: the order of an epoch is a function of (seed, epoch) that skips what was
consumed, and the randomness of a batch is a function of (seed, batch counter).
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from triptych.data.processes import rank, ranks


def derived_seed(*parts: int) -> int:
    """A 63-bit seed that is a function of `parts` alone (NumPy's SeedSequence)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1


def seed_torch(seed: int) -> None:
    """`torch.manual_seed` without the stack traces that it takes at every call for absent accelerators."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


class EpochSampler(Sampler[int]):
    """A permutation per epoch from (seed, epoch); `skip` examples of the first one are done."""

    def __init__(self, length: int, *, seed: int, shuffle: bool = True) -> None:
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self.epoch = epoch

    def skip_batches(self, batches: int, size: int) -> None:
        """Leave out the first batches of the loader, which have `size` examples each."""
        self.skip = batches * size

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:  # does nothing before the first index: torch may ask twice
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        order = (
            torch.randperm(self.length, generator=generator) if self.shuffle else torch.arange(self.length)
        )
        skip, self.skip = self.skip, 0
        yield from order[skip:].tolist()


class SharedSampler(EpochSampler):
    """The same order, shared out: of every whole batch the part of this process."""

    def __init__(self, length: int, *, seed: int, batch_size: int) -> None:
        super().__init__(length, seed=seed)
        self.batch_size = batch_size

    @property
    def part(self) -> int:
        """Examples of a batch in each process."""
        return self.batch_size // ranks()

    def skip_batches(self, batches: int, size: int) -> None:
        self.skip = batches * self.batch_size

    def __len__(self) -> int:
        return self.length // self.batch_size * self.part

    def __iter__(self) -> Iterator[int]:
        order = list(super().__iter__())
        whole = len(order) - len(order) % self.batch_size
        starts = range(rank() * self.part, whole, self.batch_size)
        return iter([index for start in starts for index in order[start : start + self.part]])


class LateLoader(DataLoader):
    """Asks its sampler when the first batch is wanted, not when Lightning prepares the loop.

    With workers torch asks ahead at once: before `skip_batches`, which would then say nothing.
    """

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]  # an iterator too
        yield from super().__iter__()


class ResumableDataModule(pl.LightningDataModule):
    """A data module whose training goes on exactly, read by as many processes as wanted."""

    workers = 0  # processes beside this one that make batches; these are the same for any number

    def loader(
        self,
        dataset: Dataset,
        batch_size: int | None,
        sampler: EpochSampler,
        **options: Any,  # noqa: ANN401  # torch's
    ) -> LateLoader:
        """Batches of `dataset` in the order of `sampler`."""
        return LateLoader(dataset, batch_size, sampler=sampler, num_workers=self.workers, **options)


class ExactResume(pl.Callback):
    """Reseed every batch, and skip the part of the epoch that a checkpoint covers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loader = trainer.train_dataloader
        if not trainer.fit_loop.restarted_mid_epoch or not isinstance(loader, DataLoader):
            return
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.is_last_batch:  # the epoch is complete: Lightning goes on with the next
            return
        if isinstance(loader.sampler, EpochSampler):
            done = loop.batch_idx + 1  # batches that the checkpoint covers
            loader.sampler.skip_batches(done, loader.batch_size or 1)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,  # noqa: ANN401  # Lightning's type
        batch_idx: int,
    ) -> None:
        counter = trainer.fit_loop.epoch_loop.total_batch_idx
        seed = derived_seed(self.seed, counter)
        seed_torch(seed)
        np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002  # libraries draw from the global state
        random.seed(seed)
