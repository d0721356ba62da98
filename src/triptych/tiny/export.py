"""A subnet as a float `Graph`: for costing with shapes alone, for deployment with folded weights.

One function builds both, so the network that the search counted is the network
that is quantized and compiled.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.graph.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    Op,
    Tensor,
    Weighted,
    output_size,
)
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.compiled import EPSILON
from triptych.tiny.elastic import subnet_weight
from triptych.tiny.supernet import Statistics, Supernet
from triptych.tiny.topology import Layer, Unit, classifier, topology

Weights = tuple[NDArray[np.float32], NDArray[np.float32]]
WeightsOf = Callable[[Layer], Weights]


def build_graph(space: SearchSpace, arch: ArchConfig, weights_of: WeightsOf) -> Graph:
    """The network of `arch`, input [1, resolution, resolution, channels], output logits [1, classes]."""
    builder = _Builder(space, weights_of)
    for unit in topology(space, arch):
        builder.add_unit(unit)
    builder.add_head(classifier(space))
    return Graph("input", builder.at, builder.tensors, tuple(builder.ops))


def shape_graph(space: SearchSpace, arch: ArchConfig, weight_bits: int = 8) -> Graph:
    """The network with weights of the right shapes that take no memory: for costing."""
    graph = build_graph(space, arch, _no_weights)
    ops = (replace(op, weight_bits=weight_bits) if isinstance(op, Weighted) else op for op in graph.ops)
    return replace(graph, ops=tuple(ops))


@torch.no_grad()
def export(supernet: Supernet, arch: ArchConfig, statistics: Statistics) -> Graph:
    """The subnet with batch normalization folded into weights and biases."""

    def weights_of(layer: Layer) -> Weights:
        if layer.kind == "linear":
            head = supernet.classifier
            return head.weight.numpy(force=True), head.bias.numpy(force=True)
        module, moments = supernet.layer(layer.name), statistics[layer.name]
        factor = module.gain[: layer.outputs] / (moments.variance + EPSILON).sqrt()
        weight = subnet_weight(module.weight, layer) * factor[:, None, None, None]
        bias = module.bias[: layer.outputs] - moments.mean * factor
        axes = (1, 2, 3, 0) if layer.kind == "depthwise" else (0, 2, 3, 1)
        return weight.permute(axes).contiguous().numpy(force=True), bias.numpy(force=True)

    return build_graph(supernet.space, arch, weights_of)


def _no_weights(layer: Layer) -> Weights:
    size = layer.kernel_size
    shapes = {
        "conv": (layer.outputs, size, size, layer.inputs),
        "depthwise": (1, size, size, layer.outputs),
        "linear": (layer.outputs, layer.inputs),
    }
    zero = np.zeros((), np.float32)
    return np.broadcast_to(zero, shapes[layer.kind]), np.broadcast_to(zero, (layer.outputs,))


class _Builder:
    """Operators and tensors so far; `at` is the tensor that the next operator reads."""

    def __init__(self, space: SearchSpace, weights_of: WeightsOf) -> None:
        self.weights_of = weights_of
        self.at = "input"
        shape = (1, space.resolution, space.resolution, space.channels)
        self.tensors = {"input": Tensor("input", shape)}
        self.ops: list[Op] = []

    def add_unit(self, unit: Unit) -> None:
        start = self.at
        for layer in unit.layers:
            self._add_conv(layer)
        if unit.residual:
            name = f"{self.at.rpartition('.')[0]}.add"
            op = Add(name, start, self.at, name)
            self._append(op, self.tensors[start].shape)

    def add_head(self, layer: Layer) -> None:
        _, height, width, channels = self.tensors[self.at].shape
        pool = AveragePool2D("pool", self.at, "pool", (height, width), (height, width))
        self._append(pool, (1, 1, 1, channels))
        weight, bias = self.weights_of(layer)
        self._append(FullyConnected(layer.name, self.at, layer.name, weight, bias), (1, layer.outputs))

    def _add_conv(self, layer: Layer) -> None:
        kind = DepthwiseConv2D if layer.kind == "depthwise" else Conv2D
        weight, bias = self.weights_of(layer)
        stride = (layer.stride, layer.stride)
        op = kind(layer.name, self.at, layer.name, weight, bias, stride, "same", layer.activation)
        _, height, width, _ = self.tensors[self.at].shape
        rows, columns = (output_size(n, layer.kernel_size, layer.stride, "same") for n in (height, width))
        self._append(op, (1, rows, columns, layer.outputs))

    def _append(self, op: Op, shape: tuple[int, ...]) -> None:
        self.ops.append(op)
        self.tensors[op.output] = Tensor(op.output, shape)
        self.at = op.output
