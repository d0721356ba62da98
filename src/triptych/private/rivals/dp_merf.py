"""DP-MERF: a generator fitted to one noisy mean embedding of the data.

Harder, Adamczewski, Park 2021 (arXiv:2002.11603). Everything after the release
is post-processing.
"""

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.private.generators import Generator
from triptych.private.rivals.embedding import Embedding, class_sums


def mean_distance(
    means: Float[Tensor, "classes features"], vectors: Float[Tensor, "n features"], labels: Int[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Squared distance between an embedding and that of a batch.

    The squared maximum mean discrepancy of image and label together, under the
    product of the Gaussian kernel on images and equality on labels.
    """
    mine = class_sums(vectors, labels, len(means)) / len(vectors)
    return (means - mine).square().sum()


class DPMERF(pl.LightningModule):
    """One batch is one step of the generator towards the released embedding."""

    learner: nn.Module  # what is trained

    def __init__(self, config: PrivateConfig, data: DataConfig, embedding: Embedding) -> None:
        super().__init__()
        self.settings, self.classes = config.dp_merf, data.classes
        self.generator = self.learner = Generator(config.generator, data)
        self.embedding = embedding

    @property
    def released(self) -> Generator:
        """What may leave."""
        return self.generator

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = Adam(self.learner.parameters(), self.settings.learning_rate)
        schedule = CosineAnnealingLR(optimizer, self.settings.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        labels = torch.randint(self.classes, (self.settings.batch_size,), device=self.device)
        loss = mean_distance(self.embedding.means, self.embedding.features(self.fakes(labels)), labels)
        self.log("mean_distance", loss, prog_bar=True)
        return loss

    def fakes(self, labels: Int[Tensor, " n"]) -> Float[Tensor, "n inputs"]:
        """What is embedded of generated images with these labels."""
        return self.generator(self.generator.draw_latent(len(labels)), labels).flatten(1)
