"""Processes that make batches: as many as wanted, and always the same batches."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_flatten

from triptych.data.datamodule import SplitDataModule
from triptych.data.prepared import Split
from triptych.data.resume import EpochSampler, ResumableDataModule
from triptych.private.batches import ShardDataModule, StepBatches
from triptych.private.rivals.steps import StepDataModule
from triptych.robust.datamodule import SourceDataModule, TargetDataModule

RNG = np.random.default_rng(0)
SPLIT = Split(RNG.integers(0, 256, (24, 1, 4, 4)).astype(np.uint8), RNG.integers(0, 10, 24))
SHARDS = RNG.permutation(24).reshape(4, 6)

MODULES: dict[str, Callable[[], ResumableDataModule]] = {
    "split": lambda: SplitDataModule(SPLIT, batch_size=5, seed=0),
    "shards": lambda: ShardDataModule(StepBatches(SPLIT, SHARDS, steps=6, repeats=2, batch_size=3, seed=0)),
    "steps": lambda: StepDataModule(6),
    "source": lambda: SourceDataModule([SPLIT, SPLIT], [SPLIT, SPLIT], batch_size=5, seed=0),
    "target": lambda: TargetDataModule([SPLIT.images], [SPLIT], batch_size=5, seed=0),
}


def batches(make: Callable[[], ResumableDataModule], workers: int, *, skip: int = 0) -> list[torch.Tensor]:
    """All tensors of the second epoch, whose first batches a checkpoint covers, in order."""
    module = make()
    module.workers = workers
    loader = module.train_dataloader()
    ready = iter(loader)  # as Lightning does, before the epoch and what to skip are known
    assert isinstance(loader.sampler, EpochSampler)
    loader.sampler.set_epoch(1)
    loader.sampler.skip_batches(skip, loader.batch_size or 1)
    return [leaf for batch in ready for leaf in tree_flatten(batch)[0]]


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("name", MODULES)
def test_batches_are_the_same_for_any_number_of_workers(name: str, skip: int):
    """Else a result would depend on the machine, and a resumed training on who made its batches."""
    alone = batches(MODULES[name], 0, skip=skip)
    assert alone
    for workers in (1, 2):
        others = batches(MODULES[name], workers, skip=skip)
        assert len(others) == len(alone)
        assert all(map(torch.equal, alone, others))


def test_skipped_batches_are_the_first():
    """What a checkpoint covers must not be trained on twice."""
    whole, rest = (batches(MODULES["split"], 2, skip=skip) for skip in (0, 2))
    assert all(map(torch.equal, whole[4:], rest))
