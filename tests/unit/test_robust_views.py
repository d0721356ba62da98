"""The strong view of FixMatch and AdaMatch."""

import torch

from triptych.robust.views import gain_jitter

IMAGES = torch.full((500, 2, 3, 3), 100, dtype=torch.uint8)


def test_one_factor_for_each_channel_of_each_image():
    """A factor for each pixel would be noise and hide strokes; one for the image would keep the colour."""
    view = gain_jitter(IMAGES, 0.5)
    assert torch.equal(view, view[:, :, :1, :1].expand_as(view))
    assert not torch.isclose(view[:, 0, 0, 0], view[:, 1, 0, 0]).all()
    factors = view[:, :, 0, 0] / 100
    assert 0.5 <= factors.min() < 0.51
    assert 1.49 < factors.max() <= 1.5


def test_pixels_stay_in_their_range():
    """A brighter white does not exist in any image that the network will meet."""
    assert gain_jitter(IMAGES * 2, 1.0).max() <= 255


def test_no_gain_is_the_image_itself():
    """The switch that shows what the strong view is worth."""
    assert torch.equal(gain_jitter(IMAGES, 0.0), IMAGES.float())
