"""Class-conditional mean embeddings by random Fourier features, and their one release."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from triptych.data.weights import load_weights, save_weights
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import RandomSource
from triptych.privacy.sanitize import clip, perturb

SENSITIVITY = 2.0  # replacing a record takes one vector of norm 1 away and adds another
CHUNK = 2000  # records embedded at a time


class FourierFeatures(nn.Module):
    """Vectors of norm 1 whose inner products approximate a Gaussian kernel.

    Rahimi, Recht 2007 (Random Features for Large-Scale Kernel Machines), with
    cosine and sine of each frequency. `length_scale` counts root mean square
    differences of a coordinate; frequencies come from torch's global generator
    and are public.
    """

    frequencies: Tensor

    def __init__(self, inputs: int, features: int, length_scale: float) -> None:
        super().__init__()
        width = length_scale * math.sqrt(inputs)
        self.register_buffer("frequencies", torch.randn(inputs, features // 2) / width)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n features"]:
        angles = x @ self.frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=1) / math.sqrt(self.frequencies.shape[1])


class Embedding(nn.Module):
    """A released embedding: the features, and the noisy mean vector of every class times its share."""

    means: Tensor

    def __init__(self, features: FourierFeatures, classes: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("means", torch.zeros(classes, 2 * features.frequencies.shape[1]))


def class_sums(
    vectors: Float[Tensor, "n features"], labels: Int[Tensor, " n"], classes: int
) -> Float[Tensor, "classes features"]:
    """The sum of the vectors of each class."""
    empty = vectors.new_zeros(classes, vectors.shape[1])
    return empty.index_add(0, labels, vectors)


@torch.no_grad()
def release_means(
    embed: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Int[Tensor, " n"],
    *,
    classes: int,
    noise_multiplier: float,
    source: RandomSource,
) -> Float[Tensor, "classes features"]:
    """What may be used of the embedded records: noisy sums by class, divided by their public number.

    A record adds one vector, clipped to norm 1, to the row of its class, so the
    sums of two adjacent data sets differ by a difference of two such vectors
    (Harder, Adamczewski, Park 2021, arXiv:2002.11603, section 4.2).
    """
    parts = zip(inputs.split(CHUNK), labels.split(CHUNK), strict=True)
    sums = torch.stack([class_sums(clip(embed(x), 1.0).double(), y, classes) for x, y in parts]).sum(0)
    noisy = perturb(sums, sensitivity=SENSITIVITY, noise_multiplier=noise_multiplier, source=source)
    return (noisy / len(labels)).float()


def pay_once(
    path: Path,
    ledger: Ledger,
    embedding: Embedding,
    release: Callable[[], Float[Tensor, "classes features"]],
    *,
    step: int = 0,
) -> None:
    """Fill `embedding` with what `release` makes at `step`, or with what an earlier attempt left at `path`.

    The noisy vectors are on the disk before they are paid for, and paid for
    before they are used: a killed attempt that continues makes no second release.
    """
    if path.exists():
        load_weights(path, embedding)
    else:
        embedding.means.copy_(release())
        save_weights(path, embedding)
    if ledger.last != step:
        ledger.record(step)
