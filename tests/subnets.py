"""A small search space that has every feature, and its subnets, trained a little."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from triptych.tiny.arch import ArchConfig, Block, SearchSpace, StageSpace
from triptych.tiny.supernet import Supernet

SPACE = SearchSpace(
    width_mult=0.5,
    resolution=13,  # odd: stride 2 pads both sides alike here, and not one layer later
    channels=2,
    classes=5,
    stem_width=16,
    stem_stride=2,
    first_width=16,
    stages=(StageSpace(16, 1, (1, 2)), StageSpace(32, 2, (1, 2, 3)), StageSpace(48, 1, (1,))),
    kernel_sizes=(3, 5, 7),
    expand_ratios=(2, 3),
)
EVEN = replace(SPACE, resolution=16)


def archs(space: SearchSpace) -> st.SearchStrategy[ArchConfig]:
    """Any subnet of `space`."""
    block = st.builds(Block, st.sampled_from(space.kernel_sizes), st.sampled_from(space.expand_ratios))

    def blocks(stage: StageSpace) -> st.SearchStrategy[tuple[Block, ...]]:
        depths = st.sampled_from(stage.depths)
        return depths.flatmap(lambda depth: st.tuples(*[block] * depth))

    stages = st.tuples(*(blocks(stage) for stage in space.stages))
    return stages.map(lambda chosen: ArchConfig(space.width_mult, space.resolution, chosen))


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Seeded random generators."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def supernet(space: SearchSpace, seed: int = 0) -> Supernet:
    """A supernet in which no gain is 1 and no bias 0, as after training."""
    torch.manual_seed(seed)
    network = Supernet(space)
    for name, parameter in network.named_parameters():
        if name.endswith("gain"):
            nn.init.uniform_(parameter, 0.5, 1.5)
        elif name.endswith("bias"):
            nn.init.normal_(parameter, 0.5)
    return network


def images(space: SearchSpace, n: int = 16, seed: int = 0) -> torch.Tensor:
    """Inputs in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, space.channels, space.resolution, space.resolution, generator=generator)
