"""Discriminators that know their shard before the first release.

Each is trained against a throw-away generator of its own: one generator for
all would carry every shard into every discriminator, and replacing one record
would then change more than one block of a release.
"""

import math
from typing import cast

import torch
from jaxtyping import Float, Int, UInt8
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.private.adam import StackedAdam
from triptych.private.batches import Batch
from triptych.private.ensemble import Images, Labels, build_ensemble, pooled
from triptych.private.generators import draw_latent
from triptych.private.gradients import set_gradients
from triptych.private.lanes import inputs_alone
from triptych.private.members import Part
from triptych.private.ranks import Sharded, own, parts_of
from triptych.private.stacked import StackedLinear

Bytes = UInt8[Tensor, "members batch channels height width"]
BETAS = (0.5, 0.9)  # of Adam, both networks; the released code's


def stacked_adam(parts: list[Part], learning_rate: float) -> StackedAdam:
    """One optimiser for all parts; a step changes those that have gradients."""
    return StackedAdam([weight for part in parts for weight in part.weights.values()], learning_rate, BETAS)


def update(optimizer: torch.optim.Optimizer | LightningOptimizer) -> None:
    """A step along the gradients, which are freed."""
    optimizer.step()
    optimizer.zero_grad()


def descend(optimizer: torch.optim.Optimizer | LightningOptimizer, loss: Tensor) -> None:
    """A step down `loss`."""
    loss.backward()
    update(optimizer)


class ThrowAwayGenerators(nn.Module):
    """One small conditional generator a discriminator, stacked; it draws what a discriminator sees."""

    def __init__(self, members: int, config: PrivateConfig, data: DataConfig) -> None:
        super().__init__()
        self.latent, self.latent_size = config.generator.latent, config.generator.latent_size
        self.classes = data.classes
        side = data.image_size // config.discriminator.pool
        self.shape = (data.channels, side, side)
        width, pixels = config.warm_start.width, math.prod(self.shape)
        self.layers = nn.Sequential(
            StackedLinear(members, self.latent_size + data.classes, width),
            nn.ReLU(),
            StackedLinear(members, width, pixels),
        )

    def draw_latent(self, labels: Labels) -> Float[Tensor, "members batch latent"]:
        """A random code for every label, from torch's global generator."""
        return draw_latent(self.latent, *labels.shape, self.latent_size, device=labels.device)

    def forward(self, code: Float[Tensor, "members batch latent"], labels: Labels) -> Images:
        onehot: Int[Tensor, "members batch classes"] = F.one_hot(labels, self.classes)
        return torch.sigmoid(self.layers(torch.cat([code, onehot], dim=2))).unflatten(2, self.shape)


class WarmStart(Sharded):
    """All pairs of discriminator and throw-away generator at once, each on its own shard."""

    def __init__(self, config: PrivateConfig, data: DataConfig) -> None:
        super().__init__()
        self.config = config
        self.ensemble = build_ensemble(config.discriminators, config.discriminator, data)
        self.generators = ThrowAwayGenerators(config.discriminators, config, data)
        self.automatic_optimization = False

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        members, chunk = self.config.discriminators, self.config.discriminator.chunk
        judges = parts_of(self.ensemble, members, chunk=chunk)
        forgers = parts_of(self.generators, members, chunk=chunk)
        self.parts, self.members = {0: judges, 1: forgers}, members
        self.pairs = list(zip(own(judges, members), own(forgers, members), strict=True))
        return [
            stacked_adam(judges, self.config.discriminator.learning_rate),
            stacked_adam(forgers, self.config.warm_start.learning_rate),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        for images, labels in zip(*batch, strict=True):
            self.teach(images, labels)
        self.forge(batch[1][-1])

    def teach(self, images: Bytes, labels: Labels) -> None:
        """One step of the discriminators."""
        optimizer = cast("list[LightningOptimizer]", self.optimizers())[0].optimizer
        settings = self.config.discriminator
        codes = self.generators.draw_latent(labels)
        mix = torch.rand(labels.shape, device=labels.device)
        distances = []
        for judge, forger in self.pairs:
            at = judge.members
            with torch.no_grad():
                fake = forger(codes[at], labels[at])
            real = pooled(images[at] / 255, settings.pool)
            distances.append(set_gradients(judge, real, fake, labels[at], mix=mix[at], settings=settings))
            update(optimizer)
        self.log("wasserstein_distance", torch.cat(distances).mean(), prog_bar=True)

    def forge(self, labels: Labels) -> None:
        """One step of the throw-away generators."""
        optimizer = cast("list[LightningOptimizer]", self.optimizers())[1]
        codes = self.generators.draw_latent(labels)
        for judge, forger in self.pairs:
            at = forger.members
            flattery = judge(forger(codes[at], labels[at]), labels[at]).mean(1)
            counted = forger is self.pairs[-1][1]  # Lightning counts steps: one a batch
            with inputs_alone():
                (-flattery.sum()).backward(inputs=list(forger.weights.values()))
            update(optimizer if counted else optimizer.optimizer)
