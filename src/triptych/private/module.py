"""Conditional GS-WGAN: a public generator taught by private discriminators.

Chen, Orekondy, Fritz 2020 (arXiv:2006.08265), Algorithm 1, with the releases
of `private.release`: `shared` is the published one.
"""

import math
from typing import cast

import torch
from jaxtyping import Float
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.private.batches import Batch
from triptych.private.ensemble import Images, Labels, build_ensemble, pooled
from triptych.private.generators import Generator
from triptych.private.gradients import set_gradients
from triptych.private.members import offset, rotation, within
from triptych.private.ranks import Sharded, own, parts_of
from triptych.private.release import Door
from triptych.private.variety import NEIGHBOURS, repulsion, repulsion_weight, with_impostors
from triptych.private.warm_start import BETAS, Bytes, stacked_adam, update


class GSWGAN(Sharded):
    """One batch is one step: discriminators on their shards, then one released gradient."""

    steps_taken: Tensor

    def __init__(self, config: PrivateConfig, data: DataConfig, releaser: Door) -> None:
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
        members, settings = self.config.discriminators, self.config.discriminator
        self.judges = parts_of(self.ensemble, members, chunk=settings.chunk, group=settings.trained)
        self.parts, self.members = {1: self.judges}, members
        return [
            Adam(self.generator.parameters(), self.config.generator.learning_rate, BETAS),
            stacked_adam(self.judges, settings.learning_rate),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.releaser.exhausted:
            self.trainer.should_stop = True
            return
        for images, labels in zip(*batch, strict=True):
            self.train_discriminators(images, labels)
        self.train_generator()

    def train_discriminators(self, real: Bytes, labels: Labels) -> None:
        """One step of the discriminators whose turn it is; the turn is public and tells no draw."""
        optimizer = cast("list[LightningOptimizer]", self.optimizers())[1].optimizer
        settings = self.config.discriminator
        turn = rotation(int(self.steps_taken), self.config.discriminators, settings.trained)
        codes = self.generator.draw_latent(*labels.shape)
        mix = torch.rand(labels.shape, device=self.device)
        distances = []
        for judge in own(within(self.judges, turn), self.members):
            at = offset(judge, turn)
            shown = pooled(real[at] / 255, settings.pool)
            fake = with_impostors(self.imitate(codes[at], labels[at]), shown, self.config.impostors)
            distances.append(set_gradients(judge, shown, fake, labels[at], mix=mix[at], settings=settings))
            update(optimizer)
        if distances:
            self.log("wasserstein_distance", torch.cat(distances).mean(), prog_bar=True)

    @torch.no_grad()
    def imitate(self, codes: Float[Tensor, "members batch latent"], labels: Labels) -> Images:
        """What is seen of fakes with the shards' own labels: they stay inside their shards."""
        fake = self.generator(codes.flatten(0, 1), labels.flatten()).unflatten(0, labels.shape)
        return pooled(fake, self.config.discriminator.pool)

    def learning_rate(self, step: int) -> float:
        """Of the generator: from the configured one down to its last share, along a cosine."""
        last = self.config.final_rate
        height = (1 + math.cos(math.pi * step / self.config.steps)) / 2
        return self.config.generator.learning_rate * (last + (1 - last) * height)

    def train_generator(self) -> None:
        """One step along the released gradient."""
        optimizer = cast("list[LightningOptimizer]", self.optimizers())[0]
        step = int(self.steps_taken)
        labels = torch.randint(self.classes, (self.config.rows,), device=self.device)
        fake = self.generator(self.generator.draw_latent(len(labels)), labels)
        fake = pooled(fake, self.config.discriminator.pool)
        gradient = self.releaser(self.ensemble, fake.detach(), labels, step=step)
        if weight := repulsion_weight(self.config.repulsion, step):
            others = labels.expand(NEIGHBOURS, -1)
            codes = self.generator.draw_latent(*others.shape)
            gradient = gradient + weight * repulsion(fake.detach(), self.imitate(codes, others))
        if self.config.final_rate != 1:
            for group in optimizer.optimizer.param_groups:
                group["lr"] = self.learning_rate(step)
        optimizer.zero_grad()
        self.manual_backward(fake, gradient=gradient / len(labels))
        optimizer.step()
        self.average.update_parameters(self.generator)
        self.steps_taken += 1
