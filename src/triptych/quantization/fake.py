"""A float graph that rounds like its int8 version, with gradients: quantization-aware training.

Every tensor passes its grid (Jacob et al., CVPR 2018, section 3): values are
rounded and clipped on the way forward, gradients pass where nothing was
clipped. Batch normalization is folded already, and the activations' grids stay
as they were calibrated: the weights adapt to them.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from triptych.graph.ops import DepthwiseConv2D, Graph, Quantization, Weighted
from triptych.quantization.affine import HIGHEST, LOWEST, WEIGHT_LIMITS
from triptych.quantization.calibrate import Range, apply, parameters
from triptych.quantization.lower import grids_of, per_tensor


class FakeQuantized(nn.Module):
    """Weights and biases of `graph` as parameters; the arguments as `lower` takes them."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Range], *, weight_bits: int = 8) -> None:
        super().__init__()
        self.weight_bits = weight_bits
        self.graph, self.grids = graph, grids_of(graph, ranges)
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for op in graph.weighted():
            own = parameters(op)
            assert own is not None
            self.weights[_key(op)], self.biases[_key(op)] = (value.clone() for value in own)

    def forward(self, x: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n outputs *rest"]:
        """The network's output for a batch, each value on the grid of its tensor."""
        values = {self.graph.input: on_grid(x, self.grids[self.graph.input])}
        for op in self.graph.ops:
            rounded = self._rounded(op) if isinstance(op, Weighted) else None
            values[op.output] = on_grid(apply(op, values, rounded), self.grids[op.output])
        return values[self.graph.output]

    def trained(self) -> Graph:
        """The float graph with the weights as they are now."""

        def renew(op: Weighted) -> Weighted:
            weight, bias = self.weights[_key(op)], self.biases[_key(op)]
            return replace(op, weight=weight.numpy(force=True), bias=bias.numpy(force=True))

        ops = tuple(renew(op) if isinstance(op, Weighted) else op for op in self.graph.ops)
        return replace(self.graph, ops=ops)

    def _rounded(self, op: Weighted) -> tuple[Tensor, Tensor]:
        bits = self.weight_bits
        axis = None if per_tensor(op, bits) else 3 if isinstance(op, DepthwiseConv2D) else 0
        return weight_on_grid(self.weights[_key(op)], axis, bits), self.biases[_key(op)]


def on_grid(x: Tensor, grid: Quantization) -> Tensor:
    """Rounded and clipped to int8, as a real."""
    return torch.fake_quantize_per_tensor_affine(x, grid.scale, grid.zero_point, LOWEST, HIGHEST)


def weight_on_grid(weight: Tensor, axis: int | None, bits: int = 8) -> Tensor:
    """Symmetric, of so many bits, with a scale for each entry of `axis`, or one for all."""
    limit = WEIGHT_LIMITS[bits]
    rows = weight.detach().reshape(1, -1) if axis is None else weight.detach().movedim(axis, 0).flatten(1)
    scale = (rows.abs().amax(1) / limit).clamp(min=torch.finfo(torch.float32).tiny)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    if axis is None:
        return torch.fake_quantize_per_tensor_affine(weight, scale, zero, -limit, limit)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -limit, limit)


def _key(op: Weighted) -> str:
    return op.name.replace(".", "_")  # ParameterDict forbids dots
