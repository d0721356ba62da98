"""Samples bent at random: digits stay themselves, and strength 0 changes nothing."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from triptych.config.data import DataConfig
from triptych.config.private import GeneratorConfig
from triptych.data.distort import MOST, POSE, bend, distort
from triptych.errors import ConfigError
from triptych.private.generators import Generator

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


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_affine_part_of_a_pose_is_that_of_scipy(strength: float):
    """Bends at rest: what is left is one matrix a picture, in pixels from its middle."""
    images = np.random.default_rng(0).random((4, 1, 12, 12), dtype=np.float32)
    pose = 2 * torch.rand(4, POSE, generator=torch.Generator().manual_seed(0)) - 1
    pose[:, 6:] = 0
    bent = bend(torch.from_numpy(images), pose, strength).numpy()
    for image, ours, numbers in zip(images, bent, strength * pose.double().numpy(), strict=True):
        angle, shear = numbers[0] * MOST[0], numbers[1] * MOST[1]
        scale, shift = 1 + numbers[2:4] * MOST[2], numbers[4:6] * MOST[3]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        across_down = np.diag(scale) @ turn @ np.array([[1, shear], [0, 1]])
        matrix, middle = across_down[::-1, ::-1], np.full(2, 5.5)
        offset = middle + 6 * shift[::-1] - matrix @ middle
        theirs = affine_transform(image[0], matrix, offset, order=1, mode="grid-constant", cval=0)
        np.testing.assert_allclose(ours[0], theirs, atol=1e-5)


def test_a_generator_that_distorts_bends_what_it_would_draw():
    """The pose comes behind the code; at rest it changes nothing."""
    data = DataConfig("digits", image_size=8, train_size=2, test_size=1)
    settings = GeneratorConfig(kind="mlp", width=8, learning_rate=1e-3, average=0.5, distortion=0.6)
    generator = Generator(settings, data)
    latent, labels = generator.draw_latent(5), torch.arange(5)
    assert latent.shape == (5, generator.latent_size + POSE)
    code, pose = latent[:, : generator.latent_size], latent[:, generator.latent_size :]
    assert pose.min() < -0.9
    assert pose.max() > 0.9
    drawn = generator(latent, labels)
    generator.distortion = 0.0
    plain = generator(code, labels)
    torch.testing.assert_close(drawn, bend(plain, pose, 0.6))
    generator.distortion = 0.6
    torch.testing.assert_close(generator(torch.cat([code, 0 * pose], dim=1), labels), plain)


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_an_impossible_distortion_is_refused(strength: float):
    with pytest.raises(ConfigError, match=r"generator\.distortion=.* must lie in \[0, 1\]"):
        GeneratorConfig(kind="mlp", width=8, learning_rate=1e-3, average=0.5, distortion=strength).check()
