"""Where the randomness of a release comes from: a seeded generator or the operating system.

Whoever can predict the noise, or the secret draws, can undo them. `SecureSource`
therefore takes nothing from a seed; `SeededSource` exists for experiments that
must repeat bit for bit, and the certificate says which one was used.
"""

import math
import os
import secrets
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

FINE = 2**53  # a secret coin is a uniform integer below this


@runtime_checkable
class RandomSource(Protocol):
    """Normal noise and uniform draws."""

    name: str

    def normal(self, *shape: int) -> Float64[Tensor, "..."]:
        """Standard normal values."""
        ...

    def draws(self, count: int, choices: int) -> Int64[Tensor, " count"]:
        """Independent uniform integers in [0, choices)."""
        ...


class SeededSource:
    """torch's global generator, reseeded at every batch by the run's seed: repeatable, not secret."""

    name = "seeded"

    def normal(self, *shape: int) -> Float64[Tensor, "..."]:
        return torch.randn(*shape, dtype=torch.float64)

    def draws(self, count: int, choices: int) -> Int64[Tensor, " count"]:
        return torch.randint(choices, (count,))


class SecureSource:
    """The operating system's cryptographic generator: no state to steal, no seed to publish."""

    name = "secure"

    def normal(self, *shape: int) -> Float64[Tensor, "..."]:
        """Each value is the mean of four normals, rescaled.

        That blurs the floating-point grid by which a single normal can be
        recognised (Holohan, Braghin 2021, arXiv:2107.10138).
        """
        size = math.prod(shape)
        uniform = _uniform(2 * 4 * size).reshape(2, 4, size)
        normals = np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1])  # Box, Muller 1958
        return torch.from_numpy(normals.sum(0) / 2).reshape(shape)

    def draws(self, count: int, choices: int) -> Int64[Tensor, " count"]:
        return torch.tensor([secrets.randbelow(choices) for _ in range(count)], dtype=torch.int64)


def _uniform(count: int) -> Float64[np.ndarray, " count"]:
    """53 random bits each, in (0, 1]."""
    bits = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)
    return (bits.astype(np.float64) + 1) * 2.0**-53


def random_source(*, secure: bool) -> RandomSource:
    """The operating system's generator where `secure`, else the seeded one."""
    return SecureSource() if secure else SeededSource()


def poisson_sample(size: int, sample_rate: float, source: RandomSource) -> Int64[Tensor, " drawn"]:
    """The members of a sample, each in it with probability `sample_rate` on its own; secret."""
    return (source.draws(size, FINE) < round(sample_rate * FINE)).nonzero().squeeze(1)
