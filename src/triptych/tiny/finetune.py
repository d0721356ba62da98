"""The chosen subnet learns on while it rounds like its int8 version."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from triptych.config.tiny import QuantizationConfig
from triptych.quantization.fake import FakeQuantized
from triptych.tiny.inputs import to_input


class FineTuning(pl.LightningModule):
    """Trains `network` in place: SGD with Nesterov momentum, one cosine."""

    def __init__(self, network: FakeQuantized, resolution: int, config: QuantizationConfig) -> None:
        super().__init__()
        self.network, self.resolution, self.config = network, resolution, config

    def training_step(
        self,
        batch: list[UInt8[Tensor, "batch channels height width"] | Int64[Tensor, " batch"]],
        batch_idx: int,
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the rounded logits."""
        images, labels = batch
        logits = self.network(to_input(images, self.resolution))
        loss = F.cross_entropy(logits, labels)
        self.log("loss", loss, prog_bar=True)
        self.log("train_accuracy", (logits.argmax(1) == labels).float().mean(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:  # noqa: ANN401  # Lightning's type
        """No weight decay: batch normalization is folded, so the size of a weight means something."""
        rate = self.config.learning_rate
        optimizer = torch.optim.SGD(self.parameters(), lr=rate, momentum=0.9, nesterov=True)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
