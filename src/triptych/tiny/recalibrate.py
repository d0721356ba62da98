"""Batch-norm statistics of one subnet, measured on training images.

Shared weights see different inputs in every subnet, so no running average fits
them all: the statistics are measured for each evaluated architecture (OFA and
MCUNet, appendix D).
"""

from collections.abc import Iterable
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from triptych.tiny.arch import ArchConfig
from triptych.tiny.supernet import Moments, Statistics, Supernet
from triptych.tiny.topology import Layer

BATCH = 64  # images that are normalized together, as in the paper


@torch.no_grad()
def recalibrate(
    supernet: Supernet, batches: Iterable[Float[Tensor, "_ channels height width"]], arch: ArchConfig
) -> Statistics:
    """Mean over the images of the batches' means and variances, each batch normalized by itself."""
    totals: dict[str, Moments] = {}
    images = 0

    def measure(layer: Layer, y: Tensor) -> Tensor:
        variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
        old = totals.get(layer.name, Moments(torch.zeros_like(mean), torch.zeros_like(variance)))
        weight = len(y)
        totals[layer.name] = Moments(old.mean + weight * mean, old.variance + weight * variance)
        return supernet.normalize(layer, y, Moments(mean, variance))

    for batch in batches:
        supernet.walk(batch, arch, measure)
        images += len(batch)
    return {name: Moments(m.mean / images, m.variance / images) for name, m in totals.items()}


@torch.no_grad()
def subnet_scores(
    supernet: Supernet,
    arch: ArchConfig,
    calibration: Float[Tensor, "m channels height width"],
    x: Float[Tensor, "n channels height width"],
    labels: Int64[Tensor, " n"],
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Log-likelihood of each label in `x`, and 1 where the answer is right, after recalibration."""
    statistics = recalibrate(supernet, calibration.split(BATCH), arch)
    logits = torch.cat([supernet(part, arch, statistics) for part in x.split(BATCH)])
    likelihood = -F.cross_entropy(logits, labels, reduction="none")
    return likelihood.double(), (logits.argmax(1) == labels).double()


def subnet_accuracy(
    supernet: Supernet,
    arch: ArchConfig,
    calibration: Float[Tensor, "m channels height width"],
    x: Float[Tensor, "n channels height width"],
    labels: Int64[Tensor, " n"],
) -> float:
    """Share of correct predictions on `x`, in [0, 1], after recalibration on training images."""
    _, correct = subnet_scores(supernet, arch, calibration, x, labels)
    return correct.mean().item()


class Judge:
    """What subnets answer on held-out images; each is measured once."""

    def __init__(
        self,
        supernet: Supernet,
        calibration: Float[Tensor, "m channels height width"],
        x: Float[Tensor, "n channels height width"],
        labels: Int64[Tensor, " n"],
    ) -> None:
        self._scores = cache(lambda arch: subnet_scores(supernet, arch, calibration, x, labels))

    def likelihood(self, arch: ArchConfig) -> float:
        """Mean log-likelihood of the labels, at most 0."""
        return self._scores(arch)[0].mean().item()

    def accuracy(self, arch: ArchConfig) -> float:
        """Share of correct answers, in [0, 1]."""
        return self._scores(arch)[1].mean().item()
