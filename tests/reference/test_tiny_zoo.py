"""The published MCUNet networks in our search space: costs that others computed."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from triptych.graph.memory import plan
from triptych.graph.ops import AveragePool2D
from triptych.tiny.arch import ArchConfig, Block, SearchSpace
from triptych.tiny.cost import subnet_cost
from triptych.tiny.export import shape_graph
from triptych.tiny.tflm import tflm_head
from triptych.tiny.tinyengine import tinyengine_memory
from triptych.tiny.zoo import MOBILENETV2, published, published_space

MIRROR = os.environ.get("TRIPTYCH_MIRROR")
Rows = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Published:
    """(kernel size, expand ratio) by stage; MACs and parameters by the authors' own counters.

    Architectures: mit-han-lab/mcunet, model zoo (MIT). `peak_sram` is what TinyEngine's
    scheduler allocates for int8; `flash` is weights and 8 bytes a channel.
    """

    file: str
    width_mult: float
    resolution: int
    blocks: Rows
    macs_millions: float
    parameters: int
    peak_sram: int
    flash_kib: float | None = None  # int4 has none

    @property
    def mobilenetv2(self) -> bool:
        return self.file.startswith("mbv2")


MOBILENETV2_BLOCKS = tuple(((3, 6),) * stage.depths[0] for stage in MOBILENETV2)
MCUNET_256KB = Published(
    "mcunet-256kb-1mb_imagenet",
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
    764.5,
)
MCUNET_320KB = Published(
    "mcunet-320kb-1mb_imagenet",
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
    772.0,
)
MCUNET_INT4 = Published(
    "mcunet-320kb-1mb-int4_imagenet",
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
NETWORKS = {
    "mbv2-w0.3": Published(
        "mbv2-w0.3-r80_imagenet", 0.3, 80, MOBILENETV2_BLOCKS, 7.302, 634_408, 93_992, 660.5
    ),
    "mbv2-w0.35": Published(
        "mbv2-w0.35-r144_imagenet", 0.35, 144, MOBILENETV2_BLOCKS, 23.502, 750_280, 302_120, 775.9
    ),
    "256kB": MCUNET_256KB,
    "320kB": MCUNET_320KB,
    "int4-320kB": MCUNET_INT4,
}
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


def space_of(network: Published) -> SearchSpace:
    return published_space(
        network.width_mult, network.resolution, classes=1000, mobilenetv2=network.mobilenetv2
    )


def arch_of(network: Published) -> ArchConfig:
    stages = tuple(tuple(Block(k, e) for k, e in row) for row in network.blocks)
    return ArchConfig(network.width_mult, network.resolution, stages)


@networks
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


@networks
def test_tinyengine_would_need_the_published_bytes(network: Published):
    """The rival's peak SRAM, byte for byte: or a comparison with TinyEngine compares with nobody."""
    memory = tinyengine_memory(shape_graph(space_of(network), arch_of(network)))
    assert memory.peak == network.peak_sram
    if network.flash_kib is not None:
        assert round(memory.flash / 1024, 1) == network.flash_kib


@pytest.mark.parametrize(("name", "head"), [("320kB", 397_920), ("mbv2-w0.3", 161_472)])
def test_tflm_would_need_the_bytes_of_its_own_planner(name: str, head: int):
    """Another implementation of TFLM's planner gave these for the published .tflite files.

    Real TFLM (`tflite-micro`) needs 161,472 for the second as well, and 416,832 for the first:
    there we stay 4.5 % below it, and do not know why.
    """
    network = NETWORKS[name]
    assert tflm_head(shape_graph(space_of(network), arch_of(network))) == head


@networks
def test_our_plan_needs_no_more_sram_than_tinyengine(network: Published):
    """TinyEngine's scheduler is the one to beat; above it the planner has a flaw."""
    cost = subnet_cost(space_of(network), arch_of(network))
    assert cost.peak_sram <= network.peak_sram


@networks
def test_our_plan_is_optimal(network: Published):
    """No plan is below the bound (`tests/properties/test_memory.py`), and ours is at it."""
    chosen = plan(shape_graph(space_of(network), arch_of(network)))
    assert chosen.peak == chosen.lower_bound


@pytest.mark.skipif(MIRROR is None, reason="needs TRIPTYCH_MIRROR with model_configs")
@networks
def test_a_published_file_is_the_architecture_that_we_costed(network: Published):
    """Read from the authors' file, so nothing was mistyped here."""
    file = Path(MIRROR or "") / "model_configs" / f"{network.file}.json"
    assert published(json.loads(file.read_text())) == (space_of(network), arch_of(network))
