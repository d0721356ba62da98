"""Images bent at random: what a generator with few ways of writing a digit does not show by itself.

Works on samples alone and in a way that no data chose, so it costs no privacy (post-processing).
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

KNOTS = 4  # points a side that bend an image
PARTS = (1, 1, 2, 2, 2 * KNOTS**2)  # numbers of a pose: angle, shear, scales, shifts, bends
MOST = (math.radians(30), 0.4, 0.3, 0.2, 0.12)  # of each, at strength 1
POSE = sum(PARTS)
CHUNK = 1000

Pose = Float[Tensor, "n pose"]


def distort(
    images: UInt8[np.ndarray, "n channels height width"], strength: float, *, seed: int
) -> UInt8[np.ndarray, "n channels height width"]:
    """Every image in a pose of its own, drawn from `seed`; see `bend`."""
    if strength == 0:
        return images
    rng = torch.Generator().manual_seed(seed)
    chunks = torch.from_numpy(images).float().split(CHUNK)
    bent = [bend(chunk, _draw_pose(len(chunk), rng), strength) for chunk in chunks]
    return torch.cat(bent).round().clamp(0, 255).to(torch.uint8).numpy()


def bend(
    images: Float[Tensor, "n channels height width"], pose: Pose, strength: float
) -> Float[Tensor, "n channels height width"]:
    """Turn, shear, scale, shift and bend each image as its pose says, times `strength` in [0, 1].

    A pose holds numbers in [-1, 1]; at 0 nothing happens. Shifts and bends are parts of half
    the image's side. What comes from outside is black.
    """
    return grid_sample(images, _grid(images, pose, strength), padding_mode="zeros", align_corners=False)


def _draw_pose(n: int, rng: torch.Generator) -> Pose:
    return 2 * torch.cat([torch.rand(n, part, generator=rng) for part in PARTS], dim=1) - 1


def _grid(
    images: Float[Tensor, "n channels height width"], pose: Pose, strength: float
) -> Float[Tensor, "n height width 2"]:
    """Where each pixel is taken from, in coordinates from -1 to 1."""
    n, _, height, width = images.shape
    angle, shear, scale, shift, bends = (
        strength * most * part for most, part in zip(MOST, pose.split(PARTS, dim=1), strict=True)
    )
    angle, shear, scale = angle[:, 0], shear[:, 0], 1 + scale[..., None]
    sin, cos = angle.sin(), angle.cos()
    turned = torch.stack([torch.stack([cos, cos * shear - sin]), torch.stack([sin, sin * shear + cos])])
    affine = [scale * turned.permute(2, 0, 1), shift[..., None]]
    weights = torch.cat([*affine, bends.reshape(n, 2, KNOTS**2)], dim=2)
    at = weights.flatten(0, 1) @ _basis(height, width).to(images.device)
    return at.reshape(n, 2, height, width).permute(0, 2, 3, 1)


@lru_cache
def _basis(height: int, width: int) -> Float[Tensor, "parts pixels"]:
    """What every coordinate is a sum of: places across and down, one, and the bump of each knot.

    One product with it is several times as fast as `affine_grid` and a bicubic `interpolate`.
    """
    plain = affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=False)[0]
    knots = torch.eye(KNOTS**2).reshape(-1, 1, KNOTS, KNOTS)
    bumps = interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    places = plain.permute(2, 0, 1).flatten(1)
    return torch.cat([places, torch.ones_like(places[:1]), bumps.flatten(1)])
