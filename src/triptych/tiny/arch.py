"""Which networks exist: a search space, and one architecture of it as plain data.

A space fixes channel widths, strides and resolution. An architecture chooses
for every stage its depth, and for every block the kernel size of the depthwise
convolution and the expand ratio: MCUNet (NeurIPS 2020), section 3.1 and
appendix D. Equal networks are equal values, so an architecture is its own key.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from triptych.config.data import DataConfig
from triptych.config.tiny import SpaceConfig
from triptych.errors import DataError

DIVISOR = 8


def scale_channels(base: int, width_mult: float) -> int:
    """`base * width_mult` to the nearest multiple of 8, never below 90 % of it (MobileNetV2's rule)."""
    exact = base * width_mult
    rounded = max(DIVISOR, int(exact + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * exact else rounded


def _pick(values: tuple[int, ...], rng: np.random.Generator) -> int:
    return values[rng.integers(len(values))]


@dataclass(frozen=True)
class Block:
    """The choices for one inverted bottleneck."""

    kernel_size: int
    expand_ratio: int


@dataclass(frozen=True)
class ArchConfig:
    """One subnet: the space it belongs to by (width_mult, resolution), and its blocks by stage."""

    width_mult: float
    resolution: int
    stages: tuple[tuple[Block, ...], ...]

    @property
    def depth(self) -> tuple[int, ...]:
        """Number of blocks of each stage."""
        return tuple(len(blocks) for blocks in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {
            "width_mult": self.width_mult,
            "resolution": self.resolution,
            "depth": list(self.depth),
            "kernel_size": [[block.kernel_size for block in blocks] for blocks in self.stages],
            "expand_ratio": [[block.expand_ratio for block in blocks] for blocks in self.stages],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ArchConfig":
        """The inverse of `to_json`; raises DataError where a key is missing or lists disagree."""
        try:
            stages = tuple(
                tuple(Block(int(k), int(e)) for k, e in zip(kernels, ratios, strict=True))
                for kernels, ratios in zip(value["kernel_size"], value["expand_ratio"], strict=True)
            )
            arch = cls(float(value["width_mult"]), int(value["resolution"]), stages)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"not an architecture ({error!r}): kernel_size and expand_ratio must be lists of one "
                "shape, beside width_mult and resolution"
            ) from error
        if list(arch.depth) != value.get("depth"):
            raise DataError(f"depth={value.get('depth')} disagrees with kernel_size, whose is {arch.depth}")
        return arch


@dataclass(frozen=True)
class StageSpace:
    """One stage: base channels, stride of its first block, allowed depths (ascending)."""

    width: int
    stride: int
    depths: tuple[int, ...]


@dataclass(frozen=True)
class SearchSpace:
    """All subnets of one (width_mult, resolution); choices are in ascending order.

    `mix_width` is the base width of a 1x1 convolution before the pool, as in
    MobileNetV2; MCUNet has none.
    """

    width_mult: float
    resolution: int
    channels: int
    classes: int
    stem_width: int
    stem_stride: int
    first_width: int
    stages: tuple[StageSpace, ...]
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[int, ...]
    mix_width: int | None = None

    def width(self, base: int) -> int:
        """Channels for a base width in this space."""
        return scale_channels(base, self.width_mult)

    @property
    def subnets(self) -> int:
        """How many architectures the space holds."""
        choices = len(self.kernel_sizes) * len(self.expand_ratios)
        return prod(sum(choices**depth for depth in stage.depths) for stage in self.stages)

    def largest(self) -> ArchConfig:
        """Every choice at its maximum: the shape of the supernet's weights."""
        return self._uniform(-1)

    def smallest(self) -> ArchConfig:
        """Every choice at its minimum."""
        return self._uniform(0)

    def _uniform(self, index: int) -> ArchConfig:
        block = Block(self.kernel_sizes[index], self.expand_ratios[index])
        return self._arch(tuple((block,) * stage.depths[index] for stage in self.stages))

    def _arch(self, stages: tuple[tuple[Block, ...], ...]) -> ArchConfig:
        return ArchConfig(self.width_mult, self.resolution, stages)

    def random(self, rng: np.random.Generator) -> ArchConfig:
        """Every choice uniform and independent (so not uniform over subnets: depths are)."""
        return self._arch(tuple(self._random_stage(stage, rng) for stage in self.stages))

    def _random_stage(self, stage: StageSpace, rng: np.random.Generator) -> tuple[Block, ...]:
        return tuple(self._random_block(rng) for _ in range(_pick(stage.depths, rng)))

    def _random_block(self, rng: np.random.Generator) -> Block:
        return Block(_pick(self.kernel_sizes, rng), _pick(self.expand_ratios, rng))

    def mutate(self, arch: ArchConfig, rng: np.random.Generator, probability: float) -> ArchConfig:
        """Draw each depth and each block anew with `probability`; blocks that appear are random."""

        def stage(blocks: tuple[Block, ...], choices: StageSpace) -> tuple[Block, ...]:
            depth = _pick(choices.depths, rng) if rng.random() < probability else len(blocks)
            return tuple(
                blocks[i] if i < len(blocks) and rng.random() >= probability else self._random_block(rng)
                for i in range(depth)
            )

        return self._arch(tuple(stage(b, c) for b, c in zip(arch.stages, self.stages, strict=True)))

    def crossover(self, one: ArchConfig, two: ArchConfig, rng: np.random.Generator) -> ArchConfig:
        """Each depth, and each block, from one of two parents (that have the block)."""

        def stage(a: tuple[Block, ...], b: tuple[Block, ...]) -> tuple[Block, ...]:
            depth = len((a, b)[rng.integers(2)])
            donors = [[p[i] for p in (a, b) if i < len(p)] for i in range(depth)]
            return tuple(blocks[rng.integers(len(blocks))] for blocks in donors)

        return self._arch(tuple(stage(a, b) for a, b in zip(one.stages, two.stages, strict=True)))

    def check(self, arch: ArchConfig) -> None:
        """Raise DataError, naming the choice, where the supernet has no weights for `arch`."""
        here, there = (self.width_mult, self.resolution), (arch.width_mult, arch.resolution)
        if here != there:
            raise DataError(f"the architecture is for (width_mult, resolution)={there}, the space is {here}")
        if len(arch.stages) != len(self.stages):
            raise DataError(f"the architecture has {len(arch.stages)} stages, the space {len(self.stages)}")
        for i, (blocks, stage) in enumerate(zip(arch.stages, self.stages, strict=True)):
            if len(blocks) not in stage.depths:
                raise DataError(f"stage {i}: depth={len(blocks)} is not in the search space {stage.depths}")
            for j, block in enumerate(blocks):
                self._check_block(f"stage {i}, block {j}", block)

    def _check_block(self, name: str, block: Block) -> None:
        for key, value, allowed in (
            ("kernel_size", block.kernel_size, self.kernel_sizes),
            ("expand_ratio", block.expand_ratio, self.expand_ratios),
        ):
            if value not in allowed:
                raise DataError(
                    f"{name}: {key}={value} is not in the search space {allowed}; "
                    "the supernet has no weights for it"
                )


def search_space(config: SpaceConfig, data: DataConfig, width_mult: float, resolution: int) -> SearchSpace:
    """The space of one (width_mult, resolution)."""
    depths = tuple(sorted(config.depths))
    pairs = zip(config.stage_widths, config.stage_strides, strict=True)
    stages = [StageSpace(width, stride, depths) for width, stride in pairs]
    if config.last_width is not None:
        stages.append(StageSpace(config.last_width, 1, (1,)))
    return SearchSpace(
        width_mult=float(width_mult),
        resolution=resolution,
        channels=data.channels,
        classes=data.classes,
        stem_width=config.stem_width,
        stem_stride=config.stem_stride,
        first_width=config.first_width,
        stages=tuple(stages),
        kernel_sizes=tuple(sorted(config.kernel_sizes)),
        expand_ratios=tuple(sorted(config.expand_ratios)),
        mix_width=config.mix_width,
    )


def search_spaces(config: SpaceConfig, data: DataConfig) -> list[SearchSpace]:
    """One space for each configured (width_mult, resolution)."""
    pairs = [(w, r) for w in config.width_mults for r in config.resolutions]
    return [search_space(config, data, width_mult, resolution) for width_mult, resolution in pairs]
