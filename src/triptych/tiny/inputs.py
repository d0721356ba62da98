"""What the network sees: the one resize and scale for training, test and deployment."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

PIXEL_RANGE = (0.0, 1.0)  # of every network input


def to_input(
    images: UInt8[Tensor, "n channels height width"], resolution: int
) -> Float[Tensor, "n channels {resolution} {resolution}"]:
    """Pixels in [0, 1], resized bilinearly to a square (antialiased where it shrinks)."""
    pixels = images.float() / 255
    if images.shape[2:] == (resolution, resolution):
        return pixels
    size = (resolution, resolution)
    return F.interpolate(pixels, size, mode="bilinear", antialias=True).clamp(0, 1)


def to_int8(pixels: Float[Tensor, "n channels height width"]) -> Int8[Tensor, "n height width channels"]:
    """Pixels of [0, 1] as the device gets them: `round(255 * pixel) - 128`, NHWC."""
    return (torch.round(pixels * 255) - 128).to(torch.int8).permute(0, 2, 3, 1).contiguous()
