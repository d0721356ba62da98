"""Conditional GS-WGAN: a public generator taught by private discriminators.

Chen, Orekondy, Fritz 2020 (arXiv:2006.08265), Algorithm 1, with the releases
of `private.release` in place of one shared draw a step.
"""

from typing import cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.private.batches import Batch
from triptych.private.ensemble import Images, Labels, build_ensemble
from triptych.private.generators import Generator
from triptych.private.losses import discriminator_loss
from triptych.private.release import Releaser
from triptych.private.warm_start import BETAS


class GSWGAN(pl.LightningModule):
    """One batch is one step: discriminators on their shards, then one released gradient."""

    steps_taken: Tensor

    def __init__(self, config: PrivateConfig, data: DataConfig, releaser: Releaser) -> None:
        super().__init__()
        self.config, self.classes, self.releaser = config, data.classes, releaser
        self.generator = Generator(config.generator, data)
        self.average = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(config.generator.average)
        )
        self.ensemble = build_ensemble(config.discriminators, config.discriminator, data)
        self.register_buffer("steps_taken", torch.tensor(0))
        self.automatic_optimization = False

    @property
    def released(self) -> Generator:
        """What may leave: the moving average of the generator."""
        return cast("Generator", self.average.module)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [
            Adam(self.generator.parameters(), self.config.generator.learning_rate, BETAS),
            Adam(self.ensemble.parameters(), self.config.discriminator.learning_rate, BETAS),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.releaser.exhausted:
            self.trainer.should_stop = True
            return
        for images, labels in zip(*batch, strict=True):
            self.train_discriminators(images / 255, labels)
        self.train_generator()

    def train_discriminators(self, real: Images, labels: Labels) -> None:
        """One step of every discriminator; all are trained always, so no schedule tells a draw."""
        optimizer = cast("list[torch.optim.Optimizer]", self.optimizers())[1]
        with torch.no_grad():
            same = labels.flatten()  # fakes of the shard's own labels: they stay inside the shard
            fake = self.generator(self.generator.draw_latent(len(same)), same).view_as(real)
        settings = self.config.discriminator
        loss, distance = discriminator_loss(
            self.ensemble, real, fake, labels, penalty=settings.gradient_penalty, drift=settings.drift
        )
        optimizer.zero_grad()
        self.manual_backward(loss.sum())
        optimizer.step()
        self.log("wasserstein_distance", distance.mean(), prog_bar=True)

    def train_generator(self) -> None:
        """One step along the released gradient."""
        optimizer = cast("list[torch.optim.Optimizer]", self.optimizers())[0]
        labels = torch.randint(self.classes, (self.config.rows,), device=self.device)
        fake = self.generator(self.generator.draw_latent(len(labels)), labels)
        gradient = self.releaser(self.ensemble, fake.detach(), labels, step=int(self.steps_taken))
        optimizer.zero_grad()
        self.manual_backward(fake, gradient=gradient / len(labels))
        optimizer.step()
        self.average.update_parameters(self.generator)
        self.steps_taken += 1
