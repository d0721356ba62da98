"""Elastic convolution: a subnet's layer is a view of the supernet's weights.

A smaller kernel is the centre of the largest one, fewer channels are the first
ones: Once-for-All (Cai et al., ICLR 2020), without its kernel transformation
matrices, as in MCUNet. Functions of weights and choice alone.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from triptych.graph.ops import padding_of
from triptych.tiny.topology import Layer


def crop_kernel(
    weight: Float[Tensor, "out in height width"], kernel_size: int
) -> Float[Tensor, "out in {kernel_size} {kernel_size}"]:
    """The centre of the kernels. Both sizes must be odd, or they have no common centre."""
    start = (weight.shape[-1] - kernel_size) // 2
    window = slice(start, start + kernel_size)
    return weight[:, :, window, window]


def subnet_weight(weight: Float[Tensor, "out in height width"], layer: Layer) -> Tensor:
    """The part of the largest weight that `layer` uses."""
    inputs = 1 if layer.kind == "depthwise" else layer.inputs
    return crop_kernel(weight[: layer.outputs, :inputs], layer.kernel_size)


def pad_same(
    x: Float[Tensor, "batch channels height width"], kernel_size: int, stride: int
) -> tuple[Tensor, int | tuple[int, int]]:
    """TFLite's SAME padding: what is left for the convolution, after padding where sides differ."""
    top, bottom = padding_of(x.shape[2], kernel_size, stride, "same")
    left, right = padding_of(x.shape[3], kernel_size, stride, "same")
    if top == bottom and left == right:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom)), 0


def elastic_conv(
    x: Float[Tensor, "batch inputs height width"],
    weight: Float[Tensor, "out in kernel kernel"],
    layer: Layer,
) -> Float[Tensor, "batch outputs rows columns"]:
    """Convolve with the part of `weight` that `layer` uses, SAME padding, no bias."""
    x, padding = pad_same(x, layer.kernel_size, layer.stride)
    groups = layer.inputs if layer.kind == "depthwise" else 1
    return F.conv2d(x, subnet_weight(weight, layer), None, layer.stride, padding, groups=groups)


def sort_order(project: Float[Tensor, "out middle 1 1"]) -> Tensor:
    """Middle channels from important to unimportant: L1 norm of the projection's input weights."""
    return torch.argsort(project.abs().sum(dim=(0, 2, 3)), descending=True, stable=True)
