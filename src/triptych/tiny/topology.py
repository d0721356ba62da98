"""An architecture as the list of its layers: walked by training, export and costing alike.

Stem 3x3, first block (depthwise 3x3 and projection), inverted bottlenecks
(expansion, depthwise, projection), in MobileNetV2 a 1x1 feature mix, global
average pool, classifier. ReLU6 after all but projections; the classifier gives
logits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from triptych.tiny.arch import ArchConfig, Block, SearchSpace


@dataclass(frozen=True)
class Layer:
    """One layer with weights; `name` is its key in the supernet."""

    name: str
    kind: Literal["conv", "depthwise", "linear"]
    inputs: int
    outputs: int
    kernel_size: int = 1
    stride: int = 1
    activation: Literal["none", "relu6"] = "relu6"


@dataclass(frozen=True)
class Unit:
    """Layers in a row; `residual` adds the input of the first to the output of the last."""

    layers: tuple[Layer, ...]
    residual: bool = False


def topology(space: SearchSpace, arch: ArchConfig) -> Iterator[Unit]:
    """The units of `arch` before the global average pool, in order. `arch` must be of `space`."""
    stem, first = space.width(space.stem_width), space.width(space.first_width)
    yield Unit((Layer("stem", "conv", space.channels, stem, 3, space.stem_stride),))
    depthwise = Layer("first.depthwise", "depthwise", stem, stem, 3)
    yield Unit((depthwise, Layer("first.project", "conv", stem, first, activation="none")))
    channels = first
    for i, (stage, blocks) in enumerate(zip(space.stages, arch.stages, strict=True)):
        outputs = space.width(stage.width)
        for j, block in enumerate(blocks):
            stride = stage.stride if j == 0 else 1
            yield inverted_bottleneck(f"stage{i}.block{j}", block, channels, outputs, stride)
            channels = outputs
    if space.mix_width is not None:
        yield Unit((Layer("mix", "conv", channels, space.width(space.mix_width)),))


def inverted_bottleneck(name: str, block: Block, inputs: int, outputs: int, stride: int) -> Unit:
    """Expansion, depthwise and projection; residual where the shape stays (MobileNetV2)."""
    middle = inputs * block.expand_ratio
    layers = (
        Layer(f"{name}.expand", "conv", inputs, middle),
        Layer(f"{name}.depthwise", "depthwise", middle, middle, block.kernel_size, stride),
        Layer(f"{name}.project", "conv", middle, outputs, activation="none"),
    )
    return Unit(layers, residual=stride == 1 and inputs == outputs)


def classifier(space: SearchSpace) -> Layer:
    """The linear layer from pooled features to logits."""
    features = space.width(space.mix_width or space.stages[-1].width)
    return Layer("classifier", "linear", features, space.classes, activation="none")


def conv_layers(space: SearchSpace, arch: ArchConfig) -> Iterator[Layer]:
    """The convolutions of `arch`, in order."""
    for unit in topology(space, arch):
        yield from unit.layers
