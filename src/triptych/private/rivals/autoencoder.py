"""An autoencoder trained by DP-SGD: its latent space is that of DP-MERF AE.

Every step is a release of `dp_sgd.GradientReleaser`, so both halves may be used
freely afterwards.
"""

from typing import cast

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Adam

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.private.ensemble import pooled
from triptych.private.rivals.dp_sgd import GradientReleaser

Images = Float[Tensor, "n channels height width"]


class Autoencoder(nn.Module):
    """One layer to a code in (-1, 1), two layers back to what an `mlp` generator draws."""

    def __init__(self, config: PrivateConfig, data: DataConfig) -> None:
        super().__init__()
        generator, codes = config.generator, config.dp_merf_ae.codes
        self.pool = generator.upsample
        pixels = data.channels * (data.image_size // self.pool) ** 2
        self.encoder = nn.Linear(pixels, codes)
        self.entry, self.exit = nn.Linear(codes, generator.width), nn.Linear(generator.width, pixels)

    def small(self, images: Images) -> Float[Tensor, "n pixels"]:
        """What is encoded of an image: means of as many pixels as the generator makes of one."""
        return pooled(images, self.pool).flatten(1)

    def encode(self, images: Images) -> Float[Tensor, "n codes"]:
        """The codes of images."""
        return torch.tanh(self.encoder(self.small(images)))

    def forward(self, images: Images) -> Float[Tensor, "n pixels"]:
        """What comes back from the codes."""
        return torch.sigmoid(self.exit(torch.relu(self.entry(self.encode(images)))))


class AutoencoderTraining(pl.LightningModule):
    """One batch is one released step."""

    steps_taken: Tensor

    def __init__(self, config: PrivateConfig, data: DataConfig, releaser: GradientReleaser) -> None:
        super().__init__()
        self.settings, self.releaser = config.dp_merf_ae, releaser
        self.autoencoder = Autoencoder(config, data)
        self.register_buffer("steps_taken", torch.tensor(0))
        self.automatic_optimization = False

    def configure_optimizers(self) -> Adam:
        return Adam(self.autoencoder.parameters(), self.settings.encoder_learning_rate)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if self.releaser.exhausted:
            self.trainer.should_stop = True
            return
        released = self.releaser(self.autoencoder, self.errors, step=int(self.steps_taken))
        for parameter, gradient in zip(self.autoencoder.parameters(), released, strict=True):
            parameter.grad = gradient
        self.log("released_norm", torch.cat([gradient.flatten() for gradient in released]).norm())
        cast("LightningOptimizer", self.optimizers()).step()
        self.steps_taken += 1

    def errors(self, network: nn.Module, images: Images, labels: Tensor) -> Float[Tensor, " n"]:
        """Squared error of each image; labels play no part."""
        return (network(images) - self.autoencoder.small(images)).square().sum(1)
