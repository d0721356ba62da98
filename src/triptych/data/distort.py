"""Samples bent at random: what a generator with few ways of writing a digit does not show by itself.

Works on samples alone, so it costs no privacy (post-processing).
"""

import math

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

ANGLE, SHEAR, SCALE, SHIFT, BEND = math.radians(30), 0.4, 0.3, 0.2, 0.12  # at most, at strength 1
KNOTS = 4  # points a side that bend an image
CHUNK = 1000


def distort(
    images: UInt8[np.ndarray, "n channels height width"], strength: float, *, seed: int
) -> UInt8[np.ndarray, "n channels height width"]:
    """Turn, shear, scale, shift and bend every image by chance, up to `strength` in [0, 1].

    Shifts and bends are parts of half the image's side. What comes from outside is black.
    """
    if strength == 0:
        return images
    rng = torch.Generator().manual_seed(seed)
    chunks = torch.from_numpy(images).float().split(CHUNK)
    bent = [
        grid_sample(chunk, _grid(chunk, strength, rng), padding_mode="zeros", align_corners=False)
        for chunk in chunks
    ]
    return torch.cat(bent).round().clamp(0, 255).to(torch.uint8).numpy()


def _grid(
    images: Float[Tensor, "n channels height width"], strength: float, rng: torch.Generator
) -> Float[Tensor, "n height width 2"]:
    """Where each pixel is taken from, in coordinates from -1 to 1."""
    n, _, *sides = images.shape

    def draw(most: float, *shape: int) -> Tensor:
        return strength * most * (2 * torch.rand(n, *shape, generator=rng) - 1)

    angle, shear, scale, shift = draw(ANGLE), draw(SHEAR), 1 + draw(SCALE, 2, 1), draw(SHIFT, 2, 1)
    sin, cos = angle.sin(), angle.cos()
    turned = torch.stack([torch.stack([cos, cos * shear - sin]), torch.stack([sin, sin * shear + cos])])
    affine = torch.cat([scale * turned.permute(2, 0, 1), shift], dim=2)
    bends = interpolate(draw(BEND, 2, KNOTS, KNOTS), sides, mode="bicubic", align_corners=True)
    return affine_grid(affine, list(images.shape), align_corners=False) + bends.permute(0, 2, 3, 1)
