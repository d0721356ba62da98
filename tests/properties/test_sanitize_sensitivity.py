"""The sensitivity on which every epsilon of this project rests."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triptych.privacy.sanitize import sanitize


class Silence:
    """A source without noise."""

    name = "silence"

    def normal(self, *shape):
        return torch.zeros(*shape, dtype=torch.float64)

    def draws(self, count, choices):
        return torch.zeros(count, dtype=torch.int64)


@given(
    blocks=st.integers(1, 6),
    features=st.integers(1, 20),
    clip_norm=st.floats(0.01, 100),
    scale=st.floats(0, 1e30),
    seed=st.integers(0, 1000),
    broken=st.booleans(),
)
def test_replacing_one_block_moves_a_release_by_at_most_twice_the_clip_norm(
    blocks, features, clip_norm, scale, seed, broken
):
    """One record decides one block, whatever it makes of it: that is the whole theorem's premise."""
    rng = torch.Generator().manual_seed(seed)
    before = torch.randn(1, blocks, features, generator=rng)
    after = before.clone()
    after[0, seed % blocks] = torch.randn(features, generator=rng) * scale
    if broken:
        after[0, seed % blocks, 0] = torch.nan

    def released(grads: torch.Tensor) -> torch.Tensor:
        return sanitize(grads, clip_norm=clip_norm, noise_multiplier=1.0, source=Silence())

    moved = (released(before) - released(after)).double().norm()
    assert moved <= 2 * clip_norm * (1 + 1e-5)


def test_the_bound_is_attained():
    """Noise for half the sensitivity would pass the property above if the bound were loose."""
    towards = torch.zeros(1, 2, 3)
    towards[0, 0, 0] = 50.0
    away = -towards
    silent = {"clip_norm": 1.5, "noise_multiplier": 1.0, "source": Silence()}
    moved = (sanitize(towards, **silent) - sanitize(away, **silent)).norm()
    assert float(moved) == pytest.approx(3.0, rel=1e-6)
