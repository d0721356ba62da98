"""Networks that were not searched for a microcontroller, scaled down until they fit one.

The paper's rivals (MCUNet, NeurIPS 2020, section 4): MobileNetV2 and ProxylessNAS
with all channels times a width multiplier, at a lower resolution. Of all pairs
that fit, the one that computes most is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from triptych.errors import ConfigError
from triptych.tiny.arch import ArchConfig, Block, SearchSpace, StageSpace
from triptych.tiny.cost import Cost, Limits, subnet_cost
from triptych.tiny.zoo import MOBILENETV2, MOBILENETV2_MIX, WIDTH_MULTS


@dataclass(frozen=True)
class Family:
    """A network by stages: channels, stride, and (kernel size, expand ratio) of each block."""

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    blocks: tuple[tuple[Block, ...], ...]


class Version(NamedTuple):
    """A network of a certain size, and what it costs."""

    space: SearchSpace
    arch: ArchConfig
    cost: Cost


FAMILIES = {
    "mobilenetv2": Family(
        tuple(stage.width for stage in MOBILENETV2),
        tuple(stage.stride for stage in MOBILENETV2),
        tuple((Block(3, 6),) * stage.depths[0] for stage in MOBILENETV2),
    ),
    "proxylessnas": Family(  # Cai, Zhu, Han (ICLR 2019), the network for mobile phones
        (32, 40, 80, 96, 192, 320),
        (2, 2, 2, 1, 2, 1),
        (
            (Block(5, 3), Block(3, 3)),
            (Block(7, 3), Block(3, 3), Block(5, 3), Block(5, 3)),
            (Block(7, 6), Block(5, 3), Block(5, 3), Block(5, 3)),
            (Block(5, 6), Block(5, 3), Block(5, 3), Block(5, 3)),
            (Block(7, 6), Block(7, 6), Block(7, 3), Block(7, 3)),
            (Block(7, 6),),
        ),
    ),
}


def rival(
    name: str, width_mult: float, resolution: int, *, like: SearchSpace
) -> tuple[SearchSpace, ArchConfig]:
    """A family at a width and resolution, for the images and classes of `like`.

    Both have stem and feature mix layer of MobileNetV2. Its own strides divide
    the image by 32; where `like` divides by less, for small images, the first
    stages keep the resolution.
    """
    family = FAMILIES[name]
    strides = _strides(family.strides, like)
    stages = zip(family.widths, strides, family.blocks, strict=True)
    space = SearchSpace(
        width_mult=width_mult,
        resolution=resolution,
        channels=like.channels,
        classes=like.classes,
        stem_width=32,
        stem_stride=like.stem_stride,
        first_width=16,
        stages=tuple(StageSpace(width, stride, (len(blocks),)) for width, stride, blocks in stages),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(3, 6),
        mix_width=MOBILENETV2_MIX,
    )
    return space, ArchConfig(width_mult, resolution, family.blocks)


def scaled_down(
    name: str, limits: Limits, resolutions: Sequence[int], *, like: SearchSpace, weight_bits: int = 8
) -> Version:
    """The largest version of a family within the limits. Raises ConfigError where none fits."""

    def versions() -> Iterator[Version]:
        for width_mult in WIDTH_MULTS:
            for resolution in resolutions:
                space, arch = rival(name, width_mult, resolution, like=like)
                cost = subnet_cost(space, arch, weight_bits=weight_bits)
                if limits.fit(cost):
                    yield Version(space, arch, cost)

    best = max(versions(), key=lambda version: version.cost.macs, default=None)
    if best is None:
        raise ConfigError(
            f"no width of {name} at the resolutions {list(resolutions)} fits board.sram and board.flash, of "
            f"which tiny.reserve leaves {limits.sram} and {limits.flash} bytes"
        )
    return best


def _strides(strides: tuple[int, ...], like: SearchSpace) -> list[int]:
    target = prod(stage.stride for stage in like.stages)
    found = list(strides)
    for i, _ in enumerate(found):
        if prod(found) <= target:
            break
        found[i] = 1
    return found
