"""DP-SGD as its literature counts it, by Opacus: adding or removing a record instead of replacing one.

A record that is absent moves a sum by half as much as one that is replaced, so
this value is smaller than our epsilon at the same noise. It is written beside it
for comparison with other people's numbers, never in its place.
"""

from opacus.accountants import PRVAccountant

from triptych.privacy.mechanism import SampledGradients


def add_or_remove_epsilon(event: SampledGradients, delta: float) -> float:
    """Epsilon by Opacus's tight accountant, whose noise multiplier counts from `clip_norm`: twice ours.

    Gopi, Lee, Wutschitz 2021 (arXiv:2106.02848).
    """
    accountant = PRVAccountant()
    accountant.history = [(2 * event.noise_multiplier, event.sample_rate, event.steps)]
    return float(accountant.get_epsilon(delta))
