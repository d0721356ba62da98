"""Published networks (JSON of mit-han-lab/mcunet) as architectures of our search spaces."""

from dataclasses import dataclass
from typing import Any

from triptych.errors import DataError
from triptych.tiny.arch import ArchConfig, Block, SearchSpace, StageSpace
from triptych.tiny.topology import Unit, topology

WIDTH_MULTS = tuple(step / 20 for step in range(1, 21))
EXPAND_RATIOS = (3, 4, 5, 6)  # the paper names 3, 4 and 6; its released networks use 5 too

SHAPE = ("in_channels", "out_channels", "kernel_size", "stride")  # of a block, in a file and in _Row

Stages = tuple[StageSpace, ...]
MCUNET: Stages = (
    *(StageSpace(w, s, (2, 3, 4)) for w, s in zip((24, 40, 80, 96, 192), (2, 2, 2, 1, 2), strict=True)),
    StageSpace(320, 1, (1,)),
)
MOBILENETV2: Stages = (  # Sandler et al. (CVPR 2018), table 2
    StageSpace(24, 2, (2,)),
    StageSpace(32, 2, (3,)),
    StageSpace(64, 2, (4,)),
    StageSpace(96, 1, (3,)),
    StageSpace(160, 2, (3,)),
    StageSpace(320, 1, (1,)),
)
MOBILENETV2_MIX = 1280


@dataclass(frozen=True)
class _Row:
    """Shape of one inverted bottleneck."""

    inputs: int
    outputs: int
    kernel_size: int
    stride: int

    @property
    def starts_stage(self) -> bool:
        return self.stride > 1 or self.inputs != self.outputs


def published_space(width_mult: float, resolution: int, classes: int, *, mobilenetv2: bool) -> SearchSpace:
    """The space of MCUNet (appendix D), or of MobileNetV2 scaled down, for RGB images."""
    return SearchSpace(
        width_mult=width_mult,
        resolution=resolution,
        channels=3,
        classes=classes,
        stem_width=32,
        stem_stride=2,
        first_width=16,
        stages=MOBILENETV2 if mobilenetv2 else MCUNET,
        kernel_sizes=(3, 5, 7),
        expand_ratios=EXPAND_RATIOS,
        mix_width=MOBILENETV2_MIX if mobilenetv2 else None,
    )


def published(value: dict[str, Any]) -> tuple[SearchSpace, ArchConfig]:
    """The space and the architecture of a network of the MCUNet model zoo.

    MobileNetV2 is told by its feature mix layer. The width multiplier, which the
    file does not hold, is the multiple of 0.05 that gives its channels.
    Raises DataError where no space of the family holds the network.
    """
    try:
        convs = [block["mobile_inverted_conv"] for block in value["blocks"]]
        rows = [_Row(*(_whole(conv, key) for key in SHAPE)) for conv in convs]
        stages = _by_stage(rows[1:], [_whole(conv, "expand_ratio") for conv in convs[1:]])
        mobilenetv2 = value["feature_mix_layer"] is not None
        resolution, classes = int(value["resolution"]), int(value["classifier"]["out_features"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"not a network of the MCUNet model zoo: {error!r} while reading it") from error
    for width_mult in WIDTH_MULTS:
        space = published_space(width_mult, resolution, classes, mobilenetv2=mobilenetv2)
        arch = ArchConfig(width_mult, resolution, stages)
        if len(stages) == len(space.stages) and _rows(space, arch) == rows[1:]:
            space.check(arch)
            return space, arch
    family = "MobileNetV2" if mobilenetv2 else "MCUNet"
    raise DataError(
        f"no width_mult among {WIDTH_MULTS} gives {family} the channels and strides of this network; "
        "it is not of the family"
    )


def _whole(conv: dict[str, Any], key: str) -> int:
    if type(conv[key]) is not int:
        raise TypeError(f"{key}={conv[key]!r} is not a whole number")
    return conv[key]


def _by_stage(rows: list[_Row], ratios: list[int]) -> tuple[tuple[Block, ...], ...]:
    stages: list[list[Block]] = []
    for row, ratio in zip(rows, ratios, strict=True):
        if row.starts_stage or not stages:
            stages.append([])
        stages[-1].append(Block(row.kernel_size, ratio))
    return tuple(map(tuple, stages))


def _rows(space: SearchSpace, arch: ArchConfig) -> list[_Row]:
    return [_row(unit) for unit in topology(space, arch) if len(unit.layers) == 3]


def _row(unit: Unit) -> _Row:
    expand, depthwise, project = unit.layers
    return _Row(expand.inputs, project.outputs, depthwise.kernel_size, depthwise.stride)
