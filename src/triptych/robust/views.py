"""The strong view of an image: what a classifier's answer should not depend on."""

import torch
from jaxtyping import Num, UInt8
from torch import Tensor


def gain_jitter(
    images: UInt8[Tensor, "batch channels height width"], gain: float
) -> Num[Tensor, "batch channels height width"]:
    """Each channel of each image times a factor of its own from U[1 - gain, 1 + gain], gain in [0, 1].

    Brightness for one channel; brightness and colour balance for several. Draws
    from the global generator, which training seeds batch by batch.
    """
    low, high = 1 - gain, 1 + gain
    factors = torch.rand(*images.shape[:2], 1, 1, device=images.device) * (high - low) + low
    return (images * factors).clamp(max=255)
