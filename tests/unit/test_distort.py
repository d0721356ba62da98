"""Samples bent at random: digits stay themselves, and strength 0 changes nothing."""

import numpy as np
import pytest

from triptych.data.distort import distort

BAR = np.zeros((500, 1, 28, 28), np.uint8)
BAR[:, :, 4:24, 12:16] = 255  # an upright stroke, 20 x 4


def direction(image: np.ndarray) -> float:
    """Degrees between the ink's main axis and the vertical."""
    points = np.argwhere(image > 127).astype(float)
    down, right = np.linalg.eigh(np.cov(points.T))[1][:, -1]
    return float(np.degrees(np.arctan2(right, down)) + 90) % 180 - 90


def test_without_strength_images_are_the_same():
    """The chain on digits has none."""
    assert distort(BAR, 0.0, seed=0) is BAR


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_strokes_turn_as_far_as_the_strength_says_and_keep_their_ink(strength: float):
    """A stroke that lies down would be another digit; ink changes by the scales."""
    bent = distort(BAR, strength, seed=0)
    degrees = np.array([direction(image[0]) for image in bent])
    assert np.abs(degrees).max() < strength * 90
    assert 7 * strength < degrees.std() < 30 * strength
    assert abs(degrees.mean()) < 3, "neither way is preferred"
    ink = bent.sum(axis=(1, 2, 3)) / BAR[0].sum()
    assert 0.9 < np.median(ink) < 1.2
    assert ink.min() > 0.3


def test_seed_decides():
    """The stage is deterministic, and two images of a batch are bent differently."""
    first, again, other = (distort(BAR[:3], 1.0, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert (first[0] != first[1]).any()
