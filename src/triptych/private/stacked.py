"""Layers that hold one set of weights a discriminator, stacked on the leading axis.

Member j of the output depends on member j of the input and of the weights
alone: the privacy argument rests on it.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from triptych.private.compiled import Inputs, Outputs, Window
from triptych.private.lanes import Context, Convolve


def he_normal(*shape: int, fan_in: int) -> Float[Tensor, "..."]:
    """Weights that keep the scale of a ReLU network (He et al. 2015, arXiv:1502.01852, eq. 10)."""
    return torch.randn(shape) * math.sqrt(2 / fan_in)


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        y = x.clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> Tensor:
        (g,) = gradients
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(g, y.detach(), 0)


class ReLU(nn.Module):
    """`nn.ReLU` without the zeros that torch's own sends back where a slope is differentiated again."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        y: Any = _Rectify.apply(x)
        return y


class StackedLinear(nn.Module):
    """`members` linear layers side by side, by one batched matrix product."""

    def __init__(self, members: int, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(he_normal(members, inputs, outputs, fan_in=inputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs)) if bias else None

    def forward(self, x: Float[Tensor, "members batch inputs"]) -> Float[Tensor, "members batch outputs"]:
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)


class StackedConv2d(nn.Module):
    """`members` convolutions side by side, as one grouped convolution."""

    def __init__(self, members: int, inputs: int, outputs: int, *, kernel_size: int, stride: int) -> None:
        super().__init__()
        shape = (members, outputs, inputs, kernel_size, kernel_size)
        self.weight = nn.Parameter(he_normal(*shape, fan_in=inputs * kernel_size**2))
        self.bias = nn.Parameter(torch.zeros(members, outputs))
        self.stride, self.padding = stride, kernel_size // 2

    def forward(
        self, x: Float[Tensor, "members batch inputs h w"]
    ) -> Float[Tensor, "members batch outputs _ _"]:
        members = len(x)
        folded = x.transpose(0, 1).flatten(1, 2)
        weight = self.weight.flatten(0, 1)
        y = F.conv2d(
            folded, weight, self.bias.flatten(), stride=self.stride, padding=self.padding, groups=members
        )
        return y.unflatten(1, (members, -1)).transpose(0, 1)

    def in_lanes(self, x: Inputs) -> Outputs:
        """The same in the layout of `lanes`, faster on a CPU."""
        weight = self.weight.permute(0, 3, 4, 2, 1)
        at = Window(x.shape[1], weight.shape[1], self.stride, self.padding)
        y: Any = Convolve.apply(x, weight.contiguous(), self.bias, at)
        return y


class StackedSpectralNorm(nn.Module):
    """Divide each member's weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957).

    One power iteration a forward pass in training, as torch's own for one layer.
    """

    left: Tensor

    def __init__(self, weight: Float[Tensor, "members ..."]) -> None:
        super().__init__()
        self.register_buffer("left", F.normalize(torch.randn(weight.flatten(2).shape[:2]), dim=1))

    def forward(self, weight: Float[Tensor, "members ..."]) -> Float[Tensor, "members ..."]:
        matrix = weight.flatten(2)
        with torch.no_grad():
            right = F.normalize(torch.einsum("mo,moi->mi", self.left, matrix), dim=1)
            left = F.normalize(torch.einsum("moi,mi->mo", matrix, right), dim=1)
            if self.training:
                self.left.copy_(left)
        sigma = torch.einsum("mo,moi,mi->m", left, matrix, right)
        return weight / sigma.view(-1, *[1] * (weight.ndim - 1))


def spectral_norm(layer: StackedLinear | StackedConv2d) -> StackedLinear | StackedConv2d:
    """Normalise the weights of a stacked layer in place."""
    register_parametrization(layer, "weight", StackedSpectralNorm(layer.weight))
    return layer
