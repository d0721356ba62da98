"""Steps without records: for training that is post-processing of a release."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from triptych.data.resume import EpochSampler


class StepDataModule(pl.LightningDataModule):
    """One epoch of `steps` steps, in order; a batch is the number of its step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(self.steps, seed=0, shuffle=False)
        return DataLoader(TensorDataset(torch.arange(self.steps)), batch_size=1, sampler=sampler)
