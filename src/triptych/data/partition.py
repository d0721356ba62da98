"""Cut a data set into disjoint shards, one a discriminator."""

import numpy as np
from jaxtyping import Int64

from triptych.config.checks import equal_shards

Shards = Int64[np.ndarray, "shards size"]


def partition(size: int, shards: int, *, seed: int) -> Shards:
    """A random cut of `range(size)` into `shards` disjoint rows of equal length that cover it.

    Which record lies where depends on its position alone, never on its content
    or label: otherwise replacing one record could change several shards.
    Raises ConfigError where `shards` does not divide `size`.
    """
    equal_shards("private.discriminators", shards, size)
    return np.random.default_rng(seed).permutation(size).reshape(shards, -1)
