"""A training step of the supernet: ours against a module a layer, NCHW, with copies of the sliced weights.

    python benchmarks/supernet.py [repeats] [threads]

The rival is what MCUNet's released modules do: each layer holds the largest
weight, crops and copies the part that its active subnet uses, and convolves in
NCHW; every subnet runs from the image. Both take the same 4 subnets a step
(forward, backward, SGD), compute the same loss, and run in turns in this
process with the same number of threads; medians by the clock and of CPU time.
Beside other work the clock of several threads says little: a step waits for the
slower of them. `OMP_WAIT_POLICY=PASSIVE` is what our pipelines set.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.graph.ops import padding_of
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.compiled import EPSILON
from triptych.tiny.supernet import Supernet
from triptych.tiny.topology import Layer, topology
from triptych.tiny.zoo import published_space

SUBNETS = 4


@dataclass(frozen=True)
class Setting:
    """A space and a batch."""

    width_mult: float
    resolution: int
    batch_size: int

    @property
    def space(self) -> SearchSpace:
        """MCUNet's, with 100 classes."""
        return published_space(self.width_mult, self.resolution, 100, mobilenetv2=False)


SETTINGS = (Setting(0.35, 32, 64), Setting(0.5, 64, 32), Setting(0.5, 96, 16), Setting(0.5, 176, 8))


class DynamicLayer(nn.Module):
    """One convolution, its batch normalization and activation; `active` is what it uses now."""

    def __init__(self, weight: Tensor, gain: Tensor, bias: Tensor) -> None:
        super().__init__()
        plain = torch.empty(weight.shape).copy_(
            weight
        )  # NCHW; a clone of 1x1 weights would stay channels-last
        self.weight, self.gain, self.bias = (
            nn.Parameter(value.detach().clone()) for value in (plain, gain, bias)
        )
        self.active: Layer | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Crop, copy, convolve, normalize."""
        layer = self.active
        assert layer is not None
        k, groups = layer.kernel_size, layer.inputs if layer.kind == "depthwise" else 1
        start = (self.weight.shape[-1] - k) // 2
        weight = self.weight[: layer.outputs, : layer.inputs // groups]
        weight = weight[:, :, start : start + k, start : start + k].contiguous()
        before, after = padding_of(x.shape[2], k, layer.stride, "same")
        x = F.pad(x, (before, after, before, after)) if before != after else x
        padding = 0 if before != after else before
        x = F.conv2d(x, weight, None, layer.stride, padding, groups=groups)
        gain, bias = self.gain[: layer.outputs].contiguous(), self.bias[: layer.outputs].contiguous()
        x = F.batch_norm(x, None, None, gain, bias, training=True, eps=EPSILON)
        return F.relu6(x) if layer.activation == "relu6" else x


class DynamicNetwork(nn.Module):
    """The rival: `activate` chooses a subnet, `forward` runs it."""

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.space = supernet.space
        names = [layer.name for unit in topology(self.space, self.space.largest()) for layer in unit.layers]
        modules = {name: supernet.layer(name) for name in names}
        self.layers = nn.ModuleDict(
            {name.replace(".", "_"): DynamicLayer(m.weight, m.gain, m.bias) for name, m in modules.items()}
        )
        self.classifier = nn.Linear(supernet.classifier.in_features, supernet.classifier.out_features)
        self.classifier.load_state_dict(supernet.classifier.state_dict())

    def activate(self, arch: ArchConfig) -> None:
        """Tell every layer what it uses, and keep the order."""
        self.units = list(topology(self.space, arch))
        for unit in self.units:
            for layer in unit.layers:
                self._layer(layer).active = layer

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the active subnet."""
        for unit in self.units:
            y = x
            for layer in unit.layers:
                y = self._layer(layer)(y)
            x = x + y if unit.residual else y
        return self.classifier(x.mean(dim=(2, 3)))

    def _layer(self, layer: Layer) -> DynamicLayer:
        module = self.layers[layer.name.replace(".", "_")]
        assert isinstance(module, DynamicLayer)
        return module


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    """SGD as the supernet's."""
    return torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True)


def ours(supernet: Supernet, x: Tensor, labels: Tensor, arches: list[ArchConfig]) -> float:
    """Gradients of the subnets, together; returns the summed loss."""
    loss = torch.stack([F.cross_entropy(each, labels) for each in supernet.forward_all(x, arches)]).sum()
    loss.backward()
    return loss.item()


def theirs(network: DynamicNetwork, x: Tensor, labels: Tensor, arches: list[ArchConfig]) -> float:
    """Gradients of the subnets, one after another; returns the summed loss."""
    total = 0.0
    for arch in arches:
        network.activate(arch)
        loss = F.cross_entropy(network(x), labels)
        loss.backward()
        total += loss.item()
    return total


def measure(setting: Setting, repeats: int) -> list[float]:
    """Milliseconds a step: by the clock, ours and the rival's, and of CPU time, ours and the rival's."""
    space, rng = setting.space, np.random.default_rng(0)
    torch.manual_seed(0)
    supernet = Supernet(space)
    rival = DynamicNetwork(supernet)
    x = torch.rand(setting.batch_size, 3, space.resolution, space.resolution)
    labels = torch.randint(space.classes, (setting.batch_size,))
    routes = (
        (partial(ours, supernet), optimizer_of(supernet)),
        (partial(theirs, rival), optimizer_of(rival)),
    )
    spent: list[list[float]] = []
    for repeat in range(repeats + 1):
        arches = [space.random(rng) for _ in range(SUBNETS)]
        steps = [timed(partial(step, x, labels, arches), optimizer) for step, optimizer in routes]
        if repeat:  # the first warms up, and shows that both compute the same
            spent.append([getattr(each, kind) for kind in ("clock", "cpu") for each in steps])
        else:
            torch.testing.assert_close(steps[0].loss, steps[1].loss, rtol=1e-3, atol=0)
    return [1e3 * statistics.median(column) for column in zip(*spent, strict=True)]


class Timed(NamedTuple):
    """Seconds of a step with its update, and its loss."""

    clock: float
    cpu: float  # of all threads
    loss: float


def timed(step: Callable[[], float], optimizer: torch.optim.Optimizer) -> Timed:
    """Run `step` and update."""
    clock, cpu = time.perf_counter(), time.process_time()
    optimizer.zero_grad()
    loss = step()
    optimizer.step()
    return Timed(time.perf_counter() - clock, time.process_time() - cpu, loss)


def main(repeats: int = 9, threads: int = 1) -> None:
    """Measure and print."""
    torch.set_num_threads(threads)
    sys.stdout.write(f"{threads} threads; milliseconds  ours   rival   ratio   CPU: ours   rival   ratio\n")
    for setting in SETTINGS:
        mine, rival, mine_cpu, rival_cpu = measure(setting, repeats)
        name = f"w{setting.width_mult}-r{setting.resolution} B{setting.batch_size}"
        by_clock = f"{mine:11.0f} {rival:7.0f} {rival / mine:6.2f}x"
        sys.stdout.write(
            f"{name:18} {by_clock} {mine_cpu:11.0f} {rival_cpu:7.0f} {rival_cpu / mine_cpu:6.2f}x\n"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
