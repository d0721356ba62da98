"""Checkpoints and weights go to the disk without a second copy in memory, whole or not at all."""

import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import save
from torch.utils.data import DataLoader, TensorDataset

from triptych.data.checkpoints import StreamedCheckpoints
from triptych.data.weights import load_weights, save_weights
from triptych.errors import OutputError

MEBIBYTE = 2**20


class Fit(pl.LightningModule):
    """Eight mebibytes of weights and one step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(2 * MEBIBYTE))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return (self.weight * batch[0].mean()).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond a mebibyte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEBIBYTE, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fitted(folder: Path, steps: int, last: Path | None = None) -> tuple[pl.Trainer, Fit]:
    torch.manual_seed(0)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=steps,
        logger=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[StreamedCheckpoints()],
    )
    module = Fit()
    trainer.fit(module, DataLoader(TensorDataset(torch.ones(1, 1))), ckpt_path=last, weights_only=True)
    return trainer, module


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_a_training_goes_on_from_a_streamed_checkpoint(tmp_path: Path):
    """Weights and Adam's state, read by Lightning itself; Python holds no copy of them while writing."""
    trainer, _ = fitted(tmp_path, 2)
    tracemalloc.start()
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "half.ckpt").stat().st_size > 24 * MEBIBYTE  # weights and two moments
    assert peak < 12 * MEBIBYTE
    _, resumed = fitted(tmp_path, 4, tmp_path / "half.ckpt")
    _, straight = fitted(tmp_path, 4)
    assert torch.equal(resumed.weight, straight.weight)


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_the_former_checkpoint(tmp_path: Path):
    """Half a checkpoint would end the next attempt."""
    trainer, module = fitted(tmp_path, 1)
    for name, write in (
        ("last.ckpt", lambda path: trainer.save_checkpoint(path)),
        ("w.safetensors", lambda path: save_weights(path, module)),
    ):
        (tmp_path / name).write_bytes(b"former")
        with pytest.raises(OutputError, match=rf"cannot write .*{name}.*[Ff]ile too large"):
            write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"former"
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", "w.safetensors"}


def test_weights_have_the_bytes_that_safetensors_writes_in_memory(tmp_path: Path):
    """Digests of results go by the bytes, and a file's permissions are those of the others."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    path = tmp_path / "w.safetensors"
    save_weights(path, module)
    assert path.read_bytes() == save(dict(module.state_dict()))
    assert path.stat().st_mode & 0o777 == 0o644
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    load_weights(path, module)
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)
