"""DP-SGD GAN: one conditional discriminator trained by DP-SGD; the generator is post-processing.

`wasserstein` with few discriminator steps and small batches is the published
rival (Xie et al. 2018, arXiv:1802.06739); `logistic` with many steps and large
batches the strong one (Bie, Kamath, Zhang 2023, arXiv:2302.02936).
"""

from typing import cast

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.config.rivals import DPSGDGANConfig
from triptych.private.ensemble import pooled
from triptych.private.generators import Generator
from triptych.private.rivals.dp_sgd import GradientReleaser, as_gradients, clipped_sum
from triptych.private.warm_start import BETAS

SLOPE = 0.2  # of the leaky ReLU
Images = Float[Tensor, "n channels height width"]
Scores = Float[Tensor, " n"]


class Discriminator(nn.Module):
    """Scores of images with their labels; plain layers, since single gradients are counted by layer."""

    def __init__(self, settings: DPSGDGANConfig, data: DataConfig) -> None:
        super().__init__()
        self.settings, self.classes = settings, data.classes
        side = data.image_size // settings.pool
        pixels, planes = data.channels * side**2, data.channels + data.classes
        if settings.kind == "conv":
            self.layers = _conv(planes, settings.width, side)
        else:
            inputs = pixels + data.classes if settings.labels == "onehot" else planes * side**2
            self.layers = _mlp(inputs, settings.width)

    def forward(self, images: Images, labels: Int[Tensor, " n"]) -> Scores:
        """Pixels first, then the label, whose part has norm `label_scale`."""
        shown = pooled(images, self.settings.pool)
        label = self.settings.label_scale * F.one_hot(labels, self.classes).to(images.dtype)
        if self.settings.labels == "onehot":
            return self.layers(torch.cat([shown.flatten(1), label], dim=1)).squeeze(1)
        planes = label[..., None, None].expand(-1, -1, *shown.shape[2:]) / shown.shape[-1]
        return self.layers(torch.cat([shown, planes], dim=1)).squeeze(1)


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(width, width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(width, 1),
    )


def _conv(channels: int, width: int, size: int) -> nn.Sequential:
    side = -(-size // 4)
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, stride=2, padding=2),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(width, 2 * width, 5, stride=2, padding=2),
        nn.LeakyReLU(SLOPE),
        nn.Flatten(),
        nn.Linear(2 * width * side**2, 1),
    )


def surprise(scores: Scores, *, real: bool, loss: str) -> Float[Tensor, " n"]:
    """Loss of each image that ought to be judged `real`, or not."""
    signed = -scores if real else scores
    return F.softplus(signed) if loss == "logistic" else signed


class DPSGDGAN(pl.LightningModule):
    """One batch is one released discriminator step; some are followed by a generator step."""

    steps_taken: Tensor

    def __init__(self, config: PrivateConfig, data: DataConfig, releaser: GradientReleaser) -> None:
        super().__init__()
        self.config, self.settings, self.classes = config, config.dp_sgd_gan, data.classes
        self.releaser = releaser
        self.generator = Generator(config.generator, data)
        self.average = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(config.generator.average)
        )
        self.discriminator = Discriminator(self.settings, data)
        self.register_buffer("steps_taken", torch.tensor(0))
        self.automatic_optimization = False

    @property
    def released(self) -> Generator:
        """What may leave: the moving average of the generator."""
        return cast("Generator", self.average.module)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [
            Adam(self.generator.parameters(), self.settings.generator_learning_rate, BETAS),
            Adam(self.discriminator.parameters(), self.settings.learning_rate, BETAS),
        ]

    def fakes(self) -> tuple[Images, Int[Tensor, " n"]]:
        """Generated images of uniform labels."""
        labels = torch.randint(self.classes, (self.settings.rows,), device=self.device)
        return self.generator(self.generator.draw_latent(len(labels)), labels), labels

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if self.releaser.exhausted:
            self.trainer.should_stop = True
            return
        self.train_discriminator()
        self.steps_taken += 1
        if int(self.steps_taken) % self.settings.discriminator_steps == 0:
            self.train_generator()

    def train_discriminator(self) -> None:
        """Along the released gradient of the records and that of the fakes, which costs nothing."""
        loss = self.settings.loss
        optimizer = cast("list[torch.optim.Optimizer]", self.optimizers())[1]
        with torch.no_grad():
            fake, labels = self.fakes()
        released = self.releaser(
            self.discriminator,
            lambda network, x, y: surprise(network(x, y), real=True, loss=loss),
            step=int(self.steps_taken),
        )
        opposed = self.gradient_of_fakes(fake, labels)
        for parameter, *gradients in zip(self.discriminator.parameters(), opposed, released, strict=True):
            parameter.grad = gradients[0] + gradients[1]
        optimizer.step()
        if loss == "wasserstein":  # weight clipping keeps the slope bounded (Arjovsky et al. 2017)
            with torch.no_grad():
                for parameter in self.discriminator.parameters():
                    parameter.clamp_(-self.settings.weight_bound, self.settings.weight_bound)

    def gradient_of_fakes(self, fake: Images, labels: Int[Tensor, " n"]) -> list[Tensor]:
        """Gradient of the mean loss on fakes, one tensor a parameter.

        Clipped as the records' are, where set: else fakes, unbounded, outweigh
        records wherever single gradients are longer than `clip_norm`.
        """

        def losses(network: nn.Module, x: Tensor, y: Tensor) -> Scores:
            return surprise(network(x, y), real=False, loss=self.settings.loss)

        parameters = list(self.discriminator.parameters())
        if self.settings.clip_fakes:
            clip_norm = self.settings.clip_norm
            total = clipped_sum(self.discriminator, losses, fake, labels, clip_norm=clip_norm)
            return as_gradients(total / len(labels), parameters)
        judged = losses(self.discriminator, fake, labels).mean()
        self.log("loss_on_fakes", judged, prog_bar=True)
        return list(torch.autograd.grad(judged, parameters))

    def train_generator(self) -> None:
        """Post-processing: it sees the discriminator alone."""
        optimizer = cast("list[torch.optim.Optimizer]", self.optimizers())[0]
        fake, labels = self.fakes()
        optimizer.zero_grad()
        self.manual_backward(
            surprise(self.discriminator(fake, labels), real=True, loss=self.settings.loss).mean()
        )
        optimizer.step()
        self.average.update_parameters(self.generator)
