"""Costing subnets: tables against the graph and its planner, and against building the module and tracing it.

    python benchmarks/tiny_cost.py [subnets]

The module route is what MCUNet's own code does: an `nn.Module` a subnet, a
forward pass, and hooks that add up MACs and keep the largest input plus output.
All three run in this process on one thread and on the same kind of subnets; the
ratios are of subnets a CPU second, the median of five runs.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from triptych.graph.memory import plan
from triptych.tiny.arch import ArchConfig
from triptych.tiny.export import shape_graph
from triptych.tiny.tables import CostTables
from triptych.tiny.topology import Layer, classifier, topology
from triptych.tiny.zoo import published_space

SPACE = published_space(0.5, 176, 1000, mobilenetv2=False)
REPEATS = 5


class Bottleneck(nn.Sequential):
    """A row of convolutions, with its input added where the unit is residual."""

    residual = False

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`x` through the layers."""
        y = super().forward(x)
        return x + y if self.residual else y


def module_of(arch: ArchConfig) -> nn.Module:
    """A subnet as a module of its own."""
    units = []
    for unit in topology(SPACE, arch):
        block = Bottleneck(*(part for layer in unit.layers for part in parts(layer)))
        block.residual = unit.residual
        units.append(block)
    head = classifier(SPACE)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(head.inputs, head.outputs)]
    return nn.Sequential(*units, *pool).eval()


def parts(layer: Layer) -> list[nn.Module]:
    """Convolution, batch normalization, activation."""
    groups = layer.inputs if layer.kind == "depthwise" else 1
    k = layer.kernel_size
    conv = nn.Conv2d(layer.inputs, layer.outputs, k, layer.stride, k // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(layer.outputs), *([nn.ReLU6()] if layer.activation == "relu6" else [])]


@torch.no_grad()
def trace(arch: ArchConfig) -> tuple[int, int]:
    """MACs and the largest input plus output of a layer, by a forward pass with hooks."""
    macs = peak = 0

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, peak
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        macs += layer.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)
        peak = max(peak, inputs[0].numel() + output.numel())

    module = module_of(arch)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(hook)
    module(torch.zeros(1, SPACE.channels, SPACE.resolution, SPACE.resolution))
    return macs, peak


def rate(work: Callable[[], object], subnets: int) -> float:
    """Subnets a CPU second, median."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return subnets / statistics.median(seconds)


def main(subnets: int = 1_000_000) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    start = time.process_time()
    tables = CostTables(SPACE)
    built = time.process_time() - start
    codes = tables.random(subnets, rng)
    arches = [SPACE.random(rng) for _ in range(6)]
    costs = tables.costs(np.array([tables.encode(arch) for arch in arches]))
    assert [trace(arch)[0] for arch in arches] == costs.macs.tolist(), "the routes disagree on MACs"

    fast = rate(lambda: tables.costs(codes), subnets)
    graph = rate(lambda: [plan(shape_graph(SPACE, arch)) for arch in arches], len(arches))
    traced = rate(lambda: [trace(arch) for arch in arches], len(arches))
    lines = [
        f"w{SPACE.width_mult}-r{SPACE.resolution}: {SPACE.subnets:.1e} subnets, tables in {built:.3f} s",
        f"tables                 {fast:14,.0f} subnets/s",
        f"graph and planner      {graph:14,.1f} subnets/s   tables are {fast / graph:,.0f} times as fast",
        f"module, traced         {traced:14,.1f} subnets/s   tables are {fast / traced:,.0f} times as fast",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
