"""DP-SGD as its literature counts it, by Opacus: adding or removing a record instead of replacing one.

A record that is absent moves a sum by half as much as one that is replaced, so
this value is smaller than our epsilon at the same noise. It is written beside it
for comparison with other people's numbers, never in its place.
"""

import numpy as np
from opacus.accountants import PRVAccountant

from triptych.privacy.mechanism import EncodedEmbedding, SampledGradients


def add_or_remove_epsilon(event: SampledGradients | EncodedEmbedding, delta: float) -> float:
    """Epsilon by Opacus's tight accountant, whose noise multiplier counts from `clip_norm`: twice ours.

    Gopi, Lee, Wutschitz 2021 (arXiv:2106.02848).
    """
    accountant = PRVAccountant()
    accountant.history = [
        (2 * part.noise_multiplier, part.sample_rate, part.count) for part in event.release.parts
    ]
    with np.errstate(divide="ignore"):  # a rate of 1: no loss is impossible
        return float(accountant.get_epsilon(delta))
