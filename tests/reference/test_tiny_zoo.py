"""The published MCUNet networks in our search space: costs that others computed."""

from dataclasses import dataclass

import pytest

from triptych.graph.ops import AveragePool2D
from triptych.tiny.arch import ArchConfig, Block, SearchSpace, StageSpace
from triptych.tiny.cost import subnet_cost
from triptych.tiny.export import shape_graph

Rows = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Published:
    """(kernel size, expand ratio) by stage; MACs and parameters by the authors' own counters.

    Architectures: mit-han-lab/mcunet, model zoo (MIT). `peak_sram` is what TinyEngine's
    scheduler allocates for int8.
    """

    width_mult: float
    resolution: int
    blocks: Rows
    macs_millions: float
    parameters: int
    peak_sram: int


MCUNET_256KB = Published(
    0.5,
    160,
    (
        ((5, 3), (7, 6), (3, 5), (5, 5)),
        ((3, 5), (7, 6), (5, 6)),
        ((7, 4), (5, 5)),
        ((3, 5), (5, 5), (3, 4)),
        ((5, 6), (5, 4), (5, 3), (3, 4)),
        ((5, 5),),
    ),
    67.288,
    729_392,
    219_776,
)
MCUNET_320KB = Published(
    0.5,
    176,
    (
        ((7, 3), (3, 5), (7, 5), (5, 4)),
        ((5, 5), (5, 5), (5, 5)),
        ((3, 5), (7, 6), (5, 4)),
        ((5, 5), (7, 5), (3, 5)),
        ((3, 6), (7, 5), (3, 4)),
        ((7, 5),),
    ),
    81.787,
    737_408,
    266_344,
)
MCUNET_INT4 = Published(
    0.9,
    176,
    (
        ((7, 3), (5, 6), (5, 6)),
        ((7, 4), (3, 4), (7, 4), (5, 4)),
        ((7, 4), (7, 6), (5, 4)),
        ((5, 3), (5, 3), (7, 4)),
        ((3, 5), (3, 3)),
        ((7, 4),),
    ),
    169.955,
    1_400_448,
    515_016,
)
NETWORKS = {"256kB": MCUNET_256KB, "320kB": MCUNET_320KB, "int4-320kB": MCUNET_INT4}
published = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


def space_of(network: Published) -> SearchSpace:
    """The paper's space (appendix D), with the expand ratio 5 that the released networks use."""
    stages = [
        StageSpace(w, s, (2, 3, 4)) for w, s in zip((24, 40, 80, 96, 192), (2, 2, 2, 1, 2), strict=True)
    ]
    return SearchSpace(
        width_mult=network.width_mult,
        resolution=network.resolution,
        channels=3,
        classes=1000,
        stem_width=32,
        stem_stride=2,
        first_width=16,
        stages=(*stages, StageSpace(320, 1, (1,))),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(3, 4, 5, 6),
    )


def arch_of(network: Published) -> ArchConfig:
    stages = tuple(tuple(Block(k, e) for k, e in row) for row in network.blocks)
    return ArchConfig(network.width_mult, network.resolution, stages)


@published
def test_macs_and_parameters_are_the_published_ones(network: Published):
    """If our space cannot say what MCUNet found, our search is not TinyNAS."""
    space, arch = space_of(network), arch_of(network)
    space.check(arch)
    cost, graph = subnet_cost(space, arch), shape_graph(space, arch)
    pool = next(op for op in graph.ops if isinstance(op, AveragePool2D))
    _, height, _, channels = graph[pool.input].shape
    means = channels * (height + 1)  # their counter adds the outputs of a mean over columns, then rows
    assert round((cost.macs + means) / 1e6, 3) == network.macs_millions
    normalized = sum(op.bias.size for op in graph.weighted()) - space.classes
    assert cost.parameters + normalized == network.parameters  # unfolded: a gain and a bias a channel


@published
def test_our_plan_needs_no_more_sram_than_tinyengine(network: Published):
    """TinyEngine's scheduler is the one to beat; above it the planner has a flaw."""
    cost = subnet_cost(space_of(network), arch_of(network))
    assert cost.peak_sram <= network.peak_sram
