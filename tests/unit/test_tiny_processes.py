"""The supernet over two processes: the weights of one."""

import warnings
from copy import deepcopy

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from subnets import SPACE, supernet

from triptych.config.system import TrainerConfig
from triptych.config.tiny import SupernetConfig
from triptych.data import resume
from triptych.data.datamodule import SplitDataModule
from triptych.data.prepared import Split
from triptych.data.resume import EpochSampler, ExactResume, SharedSampler
from triptych.errors import ConfigError
from triptych.tiny import module as supernet_module
from triptych.tiny.module import SupernetModule
from triptych.tiny.processes import strategy
from triptych.tiny.schedule import Phase, schedule
from triptych.tiny.supernet import Supernet

CONFIG = SupernetConfig(
    schedule="tinynas",
    largest_epochs=1,
    epochs=1,
    subnets_per_step=2,
    batch_size=8,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    validation_size=8,
)


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch):
    """Rounding must not hide a wrong gradient: single precision drifts with the number of threads alone."""
    image = supernet_module.to_input
    monkeypatch.setattr(supernet_module, "to_input", lambda *given: image(*given).double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def data() -> SplitDataModule:
    """28 images: three whole batches, and a rest that is dropped."""
    rng = np.random.default_rng(0)
    shape = (28, SPACE.channels, SPACE.resolution, SPACE.resolution)
    images = rng.integers(0, 256, shape, np.uint8)
    labels = rng.integers(0, SPACE.classes, len(images))
    split = Split(images, labels)
    return SplitDataModule(split, split.take(slice(8)), batch_size=8, seed=0, drop_last=True)


def trained(network: Supernet, phase: Phase, devices: int) -> dict[str, torch.Tensor]:
    """The weights after an epoch."""
    warnings.simplefilter("ignore")  # Lightning's advice on loaders and logging; pytest restores the filters
    hardware = TrainerConfig(devices=devices, threads=1)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy(hardware, CONFIG.batch_size, phase) or "auto",
        use_distributed_sampler=False,
        max_epochs=phase.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[ExactResume(0)],
    )
    network = deepcopy(network)
    trainer.fit(SupernetModule(network, CONFIG, phase), data())
    return network.state_dict()


@pytest.mark.usefixtures("doubles")
def test_two_processes_train_as_one():
    """Batches are shared out, moments and gradients are those of the whole batch."""
    network = supernet(SPACE).double()
    phase = schedule(SPACE, CONFIG)[1]  # random subnets: some weights have no gradient
    one, two = (trained(network, phase, devices) for devices in (1, 2))
    assert max(float((one[name] - network.state_dict()[name]).abs().max()) for name in one) > 0.01
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("done", [0, 2])
def test_parts_of_the_processes_are_the_batches_of_one(monkeypatch: pytest.MonkeyPatch, done: int):
    """Every image once, in the order of one process, also after a resume in the middle of an epoch."""
    whole = EpochSampler(28, seed=3)
    whole.skip_batches(done, 8)
    expected = list(whole)[: 24 - 8 * done]
    parts = []
    monkeypatch.setattr(resume, "ranks", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(resume, "rank", lambda rank=rank: rank)
        sampler = SharedSampler(28, seed=3, batch_size=8)
        assert len(sampler) == 12
        sampler.skip_batches(done, 4)
        parts.append(np.array(list(sampler)).reshape(-1, 4))
    assert np.hstack(parts).ravel().tolist() == expected


def test_batch_that_cannot_be_shared_out_is_refused():
    """Before any process is forked."""
    hardware = TrainerConfig(devices=3, threads=1)
    with pytest.raises(ConfigError, match=r"devices=3 must divide tiny\.supernet\.batch_size=8"):
        strategy(hardware, CONFIG.batch_size, schedule(SPACE, CONFIG)[0])
