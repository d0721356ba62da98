"""Discriminators that know their shard before the first release.

Each is trained against a throw-away generator of its own: one generator for
all would carry every shard into every discriminator, and replacing one record
would then change more than one block of a release.
"""

from typing import cast

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.private.batches import Batch
from triptych.private.ensemble import Images, Labels, build_ensemble
from triptych.private.generators import draw_latent
from triptych.private.losses import discriminator_loss
from triptych.private.stacked import StackedLinear

BETAS = (0.5, 0.9)  # of Adam, both networks; the released code's


class ThrowAwayGenerators(nn.Module):
    """One small conditional generator a discriminator, stacked."""

    def __init__(self, members: int, config: PrivateConfig, data: DataConfig) -> None:
        super().__init__()
        self.latent, self.latent_size = config.generator.latent, config.generator.latent_size
        self.classes = data.classes
        self.shape = (data.channels, data.image_size, data.image_size)
        width, pixels = config.warm_start.width, data.channels * data.image_size**2
        self.layers = nn.Sequential(
            StackedLinear(members, self.latent_size + data.classes, width),
            nn.ReLU(),
            StackedLinear(members, width, pixels),
        )

    def forward(self, labels: Labels) -> Images:
        code: Float[Tensor, "members batch latent"]
        code = draw_latent(self.latent, *labels.shape, self.latent_size, device=labels.device)
        onehot: Int[Tensor, "members batch classes"] = F.one_hot(labels, self.classes)
        return torch.sigmoid(self.layers(torch.cat([code, onehot], dim=2))).unflatten(2, self.shape)


class WarmStart(pl.LightningModule):
    """All pairs of discriminator and throw-away generator at once, each on its own shard."""

    def __init__(self, config: PrivateConfig, data: DataConfig) -> None:
        super().__init__()
        self.config = config
        self.ensemble = build_ensemble(config.discriminators, config.discriminator, data)
        self.generators = ThrowAwayGenerators(config.discriminators, config, data)
        self.automatic_optimization = False

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        discriminator = self.config.discriminator.learning_rate
        generator = self.config.warm_start.learning_rate
        return [
            Adam(self.ensemble.parameters(), discriminator, BETAS),
            Adam(self.generators.parameters(), generator, BETAS),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch[0][0] / 255, batch[1][0]
        teach, forge = cast("list[torch.optim.Optimizer]", self.optimizers())

        settings = self.config.discriminator
        loss, distance = discriminator_loss(
            self.ensemble,
            images,
            self.generators(labels).detach(),
            labels,
            penalty=settings.gradient_penalty,
            drift=settings.drift,
        )
        teach.zero_grad()
        self.manual_backward(loss.sum())
        teach.step()

        flattery = self.ensemble(self.generators(labels), labels).mean(1)
        forge.zero_grad()
        self.manual_backward(-flattery.sum())
        forge.step()
        self.log("wasserstein_distance", distance.mean(), prog_bar=True)
