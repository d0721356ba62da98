"""All subnets of a search space in one set of weights.

`forward(x, arch)` is a function of its arguments and the weights: no subnet is
ever active. Batch normalization keeps no running statistics either, because
they differ from subnet to subnet: training normalizes by the batch, evaluation
by statistics that the caller measured for this architecture (`recalibrate`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from triptych.data.processes import ranks
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.compiled import EPSILON
from triptych.tiny.elastic import elastic_conv, sort_order
from triptych.tiny.fused import fused_layer, runs_on
from triptych.tiny.processes import normalize_together
from triptych.tiny.side_by_side import Part, side_by_side
from triptych.tiny.topology import Layer, Unit, classifier, conv_layers, topology

SHARED = 2  # units that all subnets have in common: stem and first block
MANY_PIXELS = 2**16  # of a batch: from here subnets train side by side


class Moments(NamedTuple):
    """Mean and (biased) variance of each channel before normalization."""

    mean: Float[Tensor, " channels"]
    variance: Float[Tensor, " channels"]


Statistics = Mapping[str, Moments]
Normalize = Callable[[Layer, Tensor], Tensor]
Step = Callable[[Layer, Tensor], Tensor]  # a whole layer


class ElasticLayer(nn.Module):
    """Weights of the largest version of one convolution and its batch normalization."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        inputs = 1 if layer.kind == "depthwise" else layer.inputs
        size = layer.kernel_size
        self.weight = nn.Parameter(torch.empty(layer.outputs, inputs, size, size))
        self.gain = nn.Parameter(torch.ones(layer.outputs))
        self.bias = nn.Parameter(torch.zeros(layer.outputs))
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def permute_outputs(self, order: Tensor) -> None:
        """Reorder the output channels in place."""
        for parameter in (self.weight, self.gain, self.bias):
            parameter.data = parameter.data[order]

    def permute_inputs(self, order: Tensor) -> None:
        """Reorder the input channels in place."""
        self.weight.data = self.weight.data[:, order]


class Supernet(nn.Module):
    """The weights of `space.largest()`, and the forward pass of any subnet."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self.layers = nn.ModuleDict(
            {_key(layer.name): ElasticLayer(layer) for layer in conv_layers(space, space.largest())}
        )
        head = classifier(space)
        self.classifier = nn.Linear(head.inputs, head.outputs)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it

    def layer(self, name: str) -> ElasticLayer:
        """The weights of the layer called `name` in the topology."""
        module = self.layers[_key(name)]
        assert isinstance(module, ElasticLayer)
        return module

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        arch: ArchConfig,
        statistics: Statistics | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Logits of the subnet `arch`; without `statistics` the batch normalizes itself.

        `x` in [0, 1] at the space's resolution.
        """
        if statistics is None:
            return self._classify(self._run(x, topology(self.space, arch), self._by_batch))
        return self.walk(x, arch, lambda layer, y: self.normalize(layer, y, statistics[layer.name]))

    def forward_all(
        self, x: Float[Tensor, "batch channels height width"], archs: Sequence[ArchConfig]
    ) -> list[Float[Tensor, "batch classes"]]:
        """Logits of several subnets, normalized by the batch; stem and first block run once for all.

        In training on many pixels side by side: the same bits on any number of threads.
        """
        units = [list(topology(self.space, arch)) for arch in archs]

        def first() -> Tensor:
            return self._run(x, units[0][:SHARED], self._by_batch)

        def rest(own: Sequence[Unit], shared: Tensor) -> Tensor:
            return self._classify(self._run(shared, own[SHARED:], self._by_batch))

        if len(archs) > 1 and _pays_side_by_side(x):
            parts = [Part(partial(rest, own), _work(own, x.shape[2])) for own in units]
            return side_by_side(first, parts, self.parameters())
        shared = first()
        return [rest(own, shared) for own in units]

    def walk(self, x: Tensor, arch: ArchConfig, normalize: Normalize) -> Tensor:
        """The forward pass with the given normalization after every convolution."""

        def step(layer: Layer, x: Tensor) -> Tensor:
            y = normalize(layer, elastic_conv(x, self.layer(layer.name).weight, layer))
            return F.relu6(y, inplace=True) if layer.activation == "relu6" else y

        return self._classify(self._run(x, topology(self.space, arch), step))

    def _by_batch(self, layer: Layer, x: Tensor) -> Tensor:
        """A layer whose batch normalizes itself: what training does."""
        module = self.layer(layer.name)
        if runs_on(x) and ranks() == 1:
            return fused_layer(x, module.weight, module.gain, module.bias, layer)
        y = self.normalize(layer, elastic_conv(x, module.weight, layer), None)
        return F.relu6(y, inplace=True) if layer.activation == "relu6" else y

    def _run(self, x: Tensor, units: Iterable[Unit], step: Step) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for unit in units:
            y = x
            for layer in unit.layers:
                y = step(layer, y)
            x = x + y if unit.residual else y
        return x

    def _classify(self, x: Tensor) -> Tensor:
        return self.classifier(x.mean(dim=(2, 3)))

    def normalize(self, layer: Layer, y: Tensor, moments: Moments | None) -> Tensor:
        """Batch normalization by `moments`, or by those of the batch (of all processes together)."""
        module = self.layer(layer.name)
        gain, bias = module.gain[: layer.outputs], module.bias[: layer.outputs]
        if moments is None and ranks() > 1:
            return normalize_together(y, gain, bias, epsilon=EPSILON)
        mean, variance = (None, None) if moments is None else moments
        return F.batch_norm(y, mean, variance, gain, bias, training=moments is None, eps=EPSILON)

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Put the important middle channels first, so that small expand ratios keep them.

        The largest subnet computes the same function before and after (MCUNet,
        appendix D; once, between training the largest subnet and the random ones).
        """
        for unit in topology(self.space, self.space.largest()):
            if len(unit.layers) != 3:
                continue
            expand, depthwise, project = (self.layer(layer.name) for layer in unit.layers)
            order = sort_order(project.weight)
            expand.permute_outputs(order)
            depthwise.permute_outputs(order)
            project.permute_inputs(order)


def _pays_side_by_side(x: Tensor) -> bool:
    """Whether subnets train in threads of their own: on small images they wait for Python's lock."""
    trains = torch.is_grad_enabled() and not x.requires_grad and ranks() == 1
    pixels = len(x) * x.shape[2] * x.shape[3]
    return trains and x.device.type == "cpu" and x.dtype == torch.float32 and pixels >= MANY_PIXELS


def _work(units: Iterable[Unit], size: int) -> int:
    """Values of one image that the layers read and write: their time, as memory decides it."""
    total = 0
    for layer in (layer for unit in units for layer in unit.layers):
        before, size = size, -(-size // layer.stride)
        total += before**2 * layer.inputs + size**2 * layer.outputs
    return total


def _key(name: str) -> str:
    return name.replace(".", "_")  # ModuleDict forbids dots
