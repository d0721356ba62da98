"""Conditional generators: latent code and label to an image in [0, 1].

`resnet` and `dcgan` are the networks of the released code (Chen, Orekondy,
Fritz 2020, appendix); `mlp` is for images of a few pixels.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from triptych.config.data import DataConfig
from triptych.config.private import GeneratorConfig
from triptych.data.distort import POSE, bend

START = 4  # side of the first feature map


class Generator(nn.Module):
    """What all kinds share: the latent code, the label, the range of pixels and the size."""

    enlarge: Tensor | None

    def __init__(self, config: GeneratorConfig, data: DataConfig) -> None:
        super().__init__()
        self.classes, self.latent_size, self.latent = data.classes, config.latent_size, config.latent
        self.distortion = config.distortion
        side = data.image_size // config.upsample
        self.drawn = (data.channels, side, side)
        self.register_buffer("enlarge", _enlarging(side, config.upsample), persistent=False)
        self.body = BODIES[config.kind](config, data)

    def draw_latent(self, *shape: int) -> Float[Tensor, "... latent"]:
        """Random codes, each with its pose, on the generator's device, from torch's global generator."""
        device = next(self.parameters()).device
        codes = draw_latent(self.latent, *shape, self.latent_size, device=device)
        if not self.distortion:
            return codes
        return torch.cat([codes, 2 * torch.rand(*shape, POSE, device=device) - 1], dim=-1)

    def forward(
        self, latent: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        codes, pose = latent.tensor_split([self.latent_size], dim=1)
        code = torch.cat([codes, F.one_hot(labels, self.classes).to(latent.dtype)], dim=1)
        drawn = torch.sigmoid(self.body(code)).reshape(-1, *self.drawn)
        image = drawn if self.enlarge is None else self.enlarge @ drawn @ self.enlarge.T
        return bend(image, pose, self.distortion) if self.distortion else image


def _enlarging(side: int, factor: int) -> Float[Tensor, "large small"] | None:
    """The matrix that interpolates a line of `side` pixels linearly to `factor` times as many; None for 1."""
    if factor == 1:
        return None
    return F.interpolate(torch.eye(side)[None], scale_factor=factor, mode="linear")[0].T


def draw_latent(kind: str, *shape: int, device: torch.device | None = None) -> Float[Tensor, "..."]:
    """Bernoulli(0.5) bits (the paper's) or standard normal values."""
    if kind == "bernoulli":
        return torch.randint(2, shape, device=device).float()
    return torch.randn(shape, device=device)


class PixelNorm(nn.Module):
    """Divide each pixel's features by their root mean square (Karras et al. 2018, arXiv:1710.10196)."""

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Crop(nn.Module):
    """The upper left `size` x `size` pixels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels _ _"]:
        return x[..., : self.size, : self.size]


class UpBlock(nn.Module):
    """Residual block that doubles the side: nearest up-sampling, two convolutions, 1x1 shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shortcut = spectral_norm(nn.Conv2d(channels, channels, 1))
        self.main = nn.Sequential(
            PixelNorm(),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)),
            PixelNorm(),
            nn.ReLU(),
            spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)),
        )

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels _ _"]:
        return self.shortcut(F.interpolate(x, scale_factor=2)) + self.main(x)


def _mlp(config: GeneratorConfig, data: DataConfig) -> nn.Sequential:
    pixels = data.channels * (data.image_size // config.upsample) ** 2
    return nn.Sequential(
        nn.Linear(config.latent_size + data.classes, config.width),
        nn.ReLU(),
        nn.Linear(config.width, config.width),
        nn.ReLU(),
        nn.Linear(config.width, pixels),
    )


def _resnet(config: GeneratorConfig, data: DataConfig) -> nn.Sequential:
    channels = 4 * config.width
    doublings = math.ceil(math.log2((data.image_size + 2) / START))  # the last convolution takes 2 pixels
    return nn.Sequential(
        spectral_norm(nn.Linear(config.latent_size + data.classes, START**2 * channels)),
        nn.ReLU(),
        nn.Unflatten(1, (channels, START, START)),
        PixelNorm(),
        *(UpBlock(channels) for _ in range(doublings)),
        PixelNorm(),
        nn.ReLU(),
        spectral_norm(nn.Conv2d(channels, data.channels, 3)),
        Crop(data.image_size),
    )


def _dcgan(config: GeneratorConfig, data: DataConfig) -> nn.Sequential:
    width = config.width
    return nn.Sequential(
        nn.Linear(config.latent_size + data.classes, START**2 * 4 * width),
        nn.Unflatten(1, (4 * width, START, START)),
        PixelNorm(),
        nn.ReLU(),
        nn.ConvTranspose2d(4 * width, 2 * width, 5),
        Crop(7),
        PixelNorm(),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 5),
        PixelNorm(),
        nn.ReLU(),
        nn.ConvTranspose2d(width, data.channels, 8, stride=2),
    )


BODIES = {"mlp": _mlp, "resnet": _resnet, "dcgan": _dcgan}
