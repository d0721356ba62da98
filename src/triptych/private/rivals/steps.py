"""Steps without records: for training that is post-processing of a release."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from triptych.data.resume import EpochSampler, ResumableDataModule


class StepDataModule(ResumableDataModule):
    """One epoch of `steps` steps, in order; a batch is the number of its step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(self.steps, seed=0, shuffle=False)
        return self.loader(TensorDataset(torch.arange(self.steps)), 1, sampler)
