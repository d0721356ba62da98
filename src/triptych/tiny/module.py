"""Training of the supernet: several random subnets a batch, their gradients summed.

MCUNet (NeurIPS 2020), appendix D: first the largest subnet alone, then (after
sorting its channels) 4 uniformly random subnets a batch; SGD, cosine schedule.
"""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from triptych.config.tiny import SupernetConfig
from triptych.tiny.arch import ArchConfig
from triptych.tiny.inputs import to_input
from triptych.tiny.supernet import Supernet


class SupernetModule(pl.LightningModule):
    """Trains the weights of `supernet` in place; `largest` trains its largest subnet alone."""

    def __init__(self, supernet: Supernet, config: SupernetConfig, *, largest: bool = False) -> None:
        super().__init__()
        self.supernet, self.config, self.largest = supernet, config, largest

    def draw(self) -> list[ArchConfig]:
        """The subnets of this batch, by torch's random state (which a resumed run restores)."""
        space = self.supernet.space
        if self.largest:
            return [space.largest()]
        rng = np.random.default_rng(int(torch.randint(1 << 62, ())))
        return [space.random(rng) for _ in range(self.config.subnets_per_step)]

    def training_step(
        self,
        batch: list[UInt8[Tensor, "batch channels height width"] | Int64[Tensor, " batch"]],
        batch_idx: int,
    ) -> Float[Tensor, ""]:
        """Sum of the subnets' cross-entropies."""
        images, labels = batch
        x = to_input(images, self.supernet.space.resolution)
        logits = [self.supernet(x, arch) for arch in self.draw()]
        losses = torch.stack([F.cross_entropy(each, labels) for each in logits])
        correct = torch.stack([(each.argmax(1) == labels).float().mean() for each in logits])
        self.log("loss", losses.mean(), prog_bar=True)
        self.log("train_accuracy", correct.mean(), prog_bar=True)
        return losses.sum()

    def validation_step(
        self,
        batch: list[UInt8[Tensor, "batch channels height width"] | Int64[Tensor, " batch"]],
        batch_idx: int,
    ) -> None:
        """Accuracy of the two extreme subnets, normalized by the validation batch itself.

        Cheap and for the curves only: the search recalibrates on training images.
        """
        images, labels = batch
        x, space = to_input(images, self.supernet.space.resolution), self.supernet.space
        for name, arch in (("smallest", space.smallest()), ("largest", space.largest())):
            correct = self.supernet(x, arch).argmax(1) == labels
            self.log(f"validation_accuracy_{name}", correct.float().mean())

    def configure_optimizers(self) -> Any:  # noqa: ANN401  # Lightning's type
        """SGD with Nesterov momentum and one cosine over all batches; no decay on gains and biases."""
        config = self.config
        matrices = [p for p in self.parameters() if p.ndim > 1]
        vectors = [p for p in self.parameters() if p.ndim == 1]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors}]
        optimizer = torch.optim.SGD(
            groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
