"""Training of the supernet in one phase of its schedule: several subnets a batch, their gradients summed.

SGD with a cosine schedule a phase. Where subnets are taught, the teacher's
probabilities replace the labels (sandwich, in-place distillation) or stand
beside them (progressive shrinking, OFA's `kd_ratio` 1).
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
from triptych.tiny.schedule import Phase
from triptych.tiny.supernet import Supernet


class SupernetModule(pl.LightningModule):
    """Trains the weights of `supernet` in place; `teacher` is asked in phases that are taught."""

    def __init__(
        self, supernet: Supernet, config: SupernetConfig, phase: Phase, teacher: Supernet | None = None
    ) -> None:
        super().__init__()
        self.supernet, self.config, self.phase = supernet, config, phase
        self.teacher = (teacher,) if teacher and phase.taught else ()  # a tuple: not part of this module

    def draw(self) -> list[ArchConfig]:
        """The subnets of this batch, by torch's random state (which a resumed run restores)."""
        space = self.phase.space
        rng = np.random.default_rng(int(torch.randint(1 << 62, ())))
        fixed = [space.largest(), space.smallest()] if self.phase.sandwich else []
        return fixed + [space.random(rng) for _ in range(self.phase.subnets - len(fixed))]

    def training_step(
        self,
        batch: list[UInt8[Tensor, "batch channels height width"] | Int64[Tensor, " batch"]],
        batch_idx: int,
    ) -> Float[Tensor, ""]:
        """Sum of the subnets' losses."""
        images, labels = batch
        x = to_input(images, self.supernet.space.resolution)
        logits = self.supernet.forward_all(x, self.draw())
        losses = torch.stack(self._losses(x, labels, logits))
        correct = torch.stack([(each.argmax(1) == labels).float().mean() for each in logits])
        self.log("loss", losses.mean(), prog_bar=True, sync_dist=True)
        self.log("train_accuracy", correct.mean(), prog_bar=True, sync_dist=True)
        return losses.sum()

    def _losses(self, x: Tensor, labels: Int64[Tensor, " batch"], logits: list[Tensor]) -> list[Tensor]:
        hard = [F.cross_entropy(each, labels) for each in logits]
        if self.phase.sandwich:
            answers = logits[0].detach().softmax(1)
            return [hard[0], *(F.cross_entropy(each, answers) for each in logits[1:])]
        for teacher in self.teacher:
            with torch.no_grad():
                answers = teacher.to(x.device)(x, teacher.space.largest()).softmax(1)
            return [own + F.cross_entropy(each, answers) for own, each in zip(hard, logits, strict=True)]
        return hard

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
            self.log(f"validation_accuracy_{name}", correct.float().mean(), sync_dist=True)

    def configure_optimizers(self) -> Any:  # noqa: ANN401  # Lightning's type
        """SGD with Nesterov momentum and one cosine over all batches; no decay on gains and biases."""
        config = self.config
        matrices = [p for p in self.parameters() if p.ndim > 1]
        vectors = [p for p in self.parameters() if p.ndim == 1]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors}]
        optimizer = torch.optim.SGD(
            groups, lr=self.phase.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
