"""Stage one of TinyNAS: which search space to train.

Of the networks that fit the board, those with more computation tend to be more
accurate. So the best space is the one whose fitting subnets compute most on
average: MCUNet (NeurIPS 2020), section 3.1 and appendix C. The mean over a
handful of lucky subnets says little, hence the minimum share. The paper samples
a thousand subnets a space; the exact survey counts all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray as Array

from triptych.config.tiny import BoardConfig, ReserveConfig, SpaceConfig
from triptych.errors import ConfigError
from triptych.tiny.arch import SearchSpace
from triptych.tiny.cost import Limits, board_limits
from triptych.tiny.exact import Memory, distribution, fitting
from triptych.tiny.tables import Costs, CostTables

Method = Literal["sampling", "exact"]


@dataclass(frozen=True)
class Survey:
    """One space: the share of its subnets that fit the board, their mean MACs, and their distribution.

    `heights` is the share of the fitting subnets with at most `macs`, which ascend;
    both are empty where none fits.
    """

    space: SearchSpace
    share: float
    mean_macs: float  # 0 where none fits
    macs: Float64[Array, " n"]
    heights: Float64[Array, " n"]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "width_mult": self.space.width_mult,
            "resolution": self.space.resolution,
            "subnets": self.space.subnets,
            "subnets_fitting": self.share,
            "mean_macs": self.mean_macs,
        }


def sample(
    tables: CostTables, limits: Limits, *, memory: Memory, samples: int, rng: np.random.Generator
) -> Survey:
    """Draw `samples` subnets and keep the MACs of those that fit."""
    costs = tables.costs(tables.random(samples, rng))
    macs = np.sort(costs.macs[fits(costs, limits, memory)]).astype(np.float64)
    mean = float(macs.mean()) if len(macs) else 0.0
    heights = np.arange(1, len(macs) + 1) / max(len(macs), 1)
    return Survey(tables.space, len(macs) / samples, mean, macs, heights)


def count(tables: CostTables, limits: Limits, *, memory: Memory) -> Survey:
    """All subnets, weighed by the law that `sample` draws by."""
    share, mean = fitting(tables, limits, memory=memory)
    if not share:
        return Survey(tables.space, 0.0, 0.0, np.empty(0), np.empty(0))
    return Survey(tables.space, share, mean, *distribution(tables, limits, memory=memory))


def fits(costs: Costs, limits: Limits, memory: Memory) -> Bool[Array, " n"]:
    """Which subnets are within the limits by the bounds of one memory model."""
    sram, flash = memory_of(costs, memory)
    return (sram <= limits.sram) & (flash <= limits.flash)


def memory_of(costs: Costs, memory: Memory) -> tuple[Int64[Array, " n"], Int64[Array, " n"]]:
    """Peak SRAM and Flash by one memory model."""
    if memory == "ours":
        return costs.arena, costs.flash
    bound = costs.tinyengine_bound if memory == "tinyengine" else costs.tflm_bound
    return bound, costs.tinyengine_flash


def choose(surveys: Sequence[Survey], min_share: float) -> Survey:
    """The space with the largest mean MACs among those where at least `min_share` of the subnets fit.

    Raises ConfigError where no space has enough.
    """
    enough = [each for each in surveys if each.share > 0 and each.share >= min_share]
    if not enough:
        best = max(surveys, key=lambda each: each.share)
        raise ConfigError(
            f"no search space has a share of tiny.space.min_share={min_share} subnets that fit the board; "
            f"the best is {best.share:.4f} (width_mult={best.space.width_mult}, "
            f"resolution={best.space.resolution}). Choose a larger board, smaller width_mults or "
            "resolutions, or more samples"
        )
    return max(enough, key=lambda each: each.mean_macs)


def sensitivity(
    spaces: Sequence[CostTables], board: BoardConfig, reserve: ReserveConfig, config: SpaceConfig
) -> list[dict[str, Any]]:
    """What the exact rule would choose under each memory model and each SRAM reserve; null for nothing."""
    rows = []
    for memory in ("ours", "tinyengine", "tflm"):
        for sram in config.reserves:
            limits = board_limits(board, ReserveConfig(sram, reserve.flash))
            found = [(fitting(each, limits, memory=memory), each.space) for each in spaces]
            enough = [pair for pair in found if pair[0].share > 0 and pair[0].share >= config.min_share]
            best, space = max(enough, key=lambda pair: pair[0].mean_macs, default=(None, None))
            rows.append(
                {
                    "memory": memory,
                    "reserve_sram": sram,
                    "width_mult": space and space.width_mult,
                    "resolution": space and space.resolution,
                    "mean_macs": best and best.mean_macs,
                    "subnets_fitting": best and best.share,
                }
            )
    return rows
