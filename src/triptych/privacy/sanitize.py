"""The privacy boundary: the only way from private data to a generator.

Every release ends in `perturb`; `sanitize` is the one of clipped gradients.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from triptych.privacy.noise import RandomSource


def clip(vectors: Float[Tensor, "*lead features"], clip_norm: float) -> Float[Tensor, "*lead features"]:
    """Scale each vector to L2 norm at most `clip_norm`; one that is not finite becomes zero.

    Norms are taken in float64, where the squares of float32 values do not
    overflow; the factor is applied as two square roots, since the factor for a
    huge vector would be subnormal in float32 and lose its precision.
    """
    finite = vectors.isfinite().all(dim=-1, keepdim=True)
    safe = torch.where(finite, vectors, 0.0)
    norms = torch.linalg.vector_norm(safe, dim=-1, keepdim=True, dtype=torch.float64)
    root = (clip_norm / norms.clamp(min=clip_norm)).sqrt().to(vectors.dtype)
    return safe * root * root


def perturb(
    total: Float64[Tensor, "*shape"], *, sensitivity: float, noise_multiplier: float, source: RandomSource
) -> Float64[Tensor, "*shape"]:
    """`total` with Gaussian noise of standard deviation `noise_multiplier * sensitivity` on each entry.

    The caller owes the proof that replacing one record moves `total` by at most
    `sensitivity` in L2 norm.
    """
    noise = source.normal(*total.shape).to(total.device)
    return total + noise_multiplier * sensitivity * noise


def sanitize(
    grads: Float[Tensor, "releases blocks features"],
    *,
    clip_norm: float,
    noise_multiplier: float,
    source: RandomSource,
) -> Float[Tensor, "releases features"]:
    """Clip each block to L2 norm `clip_norm`, sum the blocks of a release, add Gaussian noise.

    A block depends on the shard of one discriminator. Replacing one record can
    move one block across the whole ball, so the L2 sensitivity of a sum is
    `2 * clip_norm`, and the noise has standard deviation `noise_multiplier`
    times that (Chen, Orekondy, Fritz 2020, section 4, with blocks summed).
    """
    total = clip(grads, clip_norm).sum(dim=1, dtype=torch.float64)
    noisy = perturb(total, sensitivity=2 * clip_norm, noise_multiplier=noise_multiplier, source=source)
    return noisy.to(grads.dtype)
