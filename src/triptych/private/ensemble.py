"""The discriminators, all of them in one forward pass.

`state_dict` holds every member's weights on the leading axis. Members share no
statistic: nothing here may average over the leading axis.
"""

from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.config.data import DataConfig
from triptych.config.private import DiscriminatorConfig
from triptych.private.lanes import runs_on, to_lanes
from triptych.private.stacked import ReLU, StackedConv2d, StackedLinear, spectral_norm

Images = Float[Tensor, "members batch channels height width"]
Labels = Int[Tensor, "members batch"]
Scores = Float[Tensor, "members batch"]


def pooled(images: Float[Tensor, "*lead h w"], size: int) -> Float[Tensor, "*lead _ _"]:
    """Means of `size` x `size` pixels: what discriminators see of images.

    A fixed public map. The release is the gradient of what is seen, so it has
    fewer values and with them less noise; autograd carries it on to the pixels.
    """
    if size == 1:
        return images
    return F.avg_pool2d(images.flatten(0, -4), size).unflatten(0, images.shape[:-3])


class MLPEnsemble(nn.Module):
    """Two hidden layers on pixels and one-hot label; for images of a few pixels."""

    def __init__(self, members: int, config: DiscriminatorConfig, data: DataConfig) -> None:
        super().__init__()
        self.classes, self.label_scale = data.classes, config.label_scale
        inputs = data.channels * (data.image_size // config.pool) ** 2 + data.classes
        self.layers = nn.Sequential(
            StackedLinear(members, inputs, config.width),
            ReLU(),
            StackedLinear(members, config.width, config.width),
            ReLU(),
            StackedLinear(members, config.width, 1),
        )

    def forward(self, images: Images, labels: Labels) -> Scores:
        return self.layers(self.rows(images, labels)).squeeze(2)

    def rows(self, images: Images, labels: Labels) -> Float[Tensor, "members batch inputs"]:
        """What the first layer sees: pixels, then the label."""
        onehot = self.label_scale * F.one_hot(labels, self.classes).to(images.dtype)
        return torch.cat([images.flatten(2), onehot], dim=2)


class ConvEnsemble(nn.Module):
    """Three 5x5 stride-2 convolutions and a projection on the label, spectral-normalised.

    The released discriminator (Chen, Orekondy, Fritz 2020; projection by Miyato
    and Koyama 2018, arXiv:1802.05637).
    """

    def __init__(self, members: int, config: DiscriminatorConfig, data: DataConfig) -> None:
        super().__init__()
        self.classes = data.classes
        widths = (data.channels, config.width, 2 * config.width, 4 * config.width)
        self.convolutions = nn.ModuleList(
            spectral_norm(StackedConv2d(members, a, b, kernel_size=5, stride=2)) for a, b in pairwise(widths)
        )
        self.relu = ReLU()
        side = -(-(data.image_size // config.pool) // 8)
        features = widths[-1] * side**2
        self.head = spectral_norm(StackedLinear(members, features, 1))
        self.embedding = spectral_norm(StackedLinear(members, data.classes, features, bias=False))

    def forward(self, images: Images, labels: Labels) -> Scores:
        features = (self._in_lanes(images) if runs_on(images) else self._grouped(images)).flatten(2)
        projection = self.embedding(F.one_hot(labels, self.classes).to(images.dtype))
        return self.head(features).squeeze(2) + (projection * features).sum(2)

    def _grouped(self, x: Images) -> Float[Tensor, "members batch outputs _ _"]:
        for convolution in self.convolutions:
            x = self.relu(convolution(x))
        return x

    def _in_lanes(self, images: Images) -> Float[Tensor, "members batch outputs _ _"]:
        x = to_lanes(images)
        for convolution in cast("list[StackedConv2d]", self.convolutions):
            x = self.relu(convolution.in_lanes(x))
        return x[..., : images.shape[1]].permute(0, 4, 3, 1, 2)


Ensemble = MLPEnsemble | ConvEnsemble


def build_ensemble(members: int, config: DiscriminatorConfig, data: DataConfig) -> Ensemble:
    """`members` discriminators of the configured kind."""
    kinds = {"mlp": MLPEnsemble, "conv": ConvEnsemble}
    return kinds[config.kind](members, config, data)
