"""Painting loses nothing but half a grey level."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from triptych.data.shift import colour_bin, paint, repaint

images = arrays(np.uint8, (3, 4, 5))
colours = arrays(np.float32, 3, elements=st.floats(0, 1, width=32))


@given(images, colours)
def test_channels_add_up_to_the_grey_image(grey: np.ndarray, colour: np.ndarray):
    """Fresh colours are painted on the sum: an error would grow with every repetition."""
    painted = paint(grey, colour)
    np.testing.assert_array_equal(painted[:, 0].astype(int) + painted[:, 1], grey)


@given(images, colours)
def test_each_channel_is_off_by_at_most_half_a_level(grey: np.ndarray, colour: np.ndarray):
    """The stored bytes stand for image * c and image * (1 - c)."""
    painted = paint(grey, colour)
    c = colour[:, None, None].astype(float)
    assert np.abs(painted[:, 0] - grey * c).max() <= 0.5 + 1e-4
    assert np.abs(painted[:, 1] - grey * (1 - c)).max() <= 0.5 + 1e-4


@given(images, colours, colours)
def test_repainting_forgets_the_old_colour(grey: np.ndarray, old: np.ndarray, new: np.ndarray):
    """A trace of the source colour in a recoloured image would spoil the diagnosis."""
    np.testing.assert_array_equal(repaint(paint(grey, old), new), paint(grey, new))


@given(colours, st.sampled_from([2, 10]))
def test_every_colour_points_to_a_label(colour: np.ndarray, ways: int):
    """Both ends of the range included."""
    bins = colour_bin(colour, ways)
    assert bins.min() >= 0
    assert bins.max() < ways
