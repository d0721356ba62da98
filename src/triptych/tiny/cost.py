"""What a subnet costs on a board: exact MACs and parameters, predicted peak SRAM and Flash.

Peak SRAM comes from the planner that the code generator uses, on the graph
that the export builds; a stated reserve for runtime and application is added.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from triptych.config import BoardConfig, ReserveConfig
from triptych.errors import ConfigError
from triptych.graph.cost import constant_bytes, count_macs
from triptych.graph.memory import plan
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.export import shape_graph


@dataclass(frozen=True)
class Cost:
    """`parameters` counts folded weights and biases; memory is in bytes, reserves included."""

    macs: int
    parameters: int
    peak_sram: int
    flash: int

    def to_json(self) -> dict[str, int]:
        """Plain numbers under the names of metrics."""
        return {
            "macs": self.macs,
            "parameters": self.parameters,
            "peak_sram_predicted": self.peak_sram,
            "flash_predicted": self.flash,
        }


@dataclass(frozen=True)
class Limits:
    """What the board has, in bytes."""

    sram: int
    flash: int

    def fit(self, cost: Cost) -> bool:
        """Whether a network of this cost runs on the board."""
        return cost.peak_sram <= self.sram and cost.flash <= self.flash


Costing = Callable[[SearchSpace, ArchConfig], Cost]


@dataclass(frozen=True)
class CostModel:
    """Costs subnets with the same reserve."""

    reserve: ReserveConfig

    def __call__(self, space: SearchSpace, arch: ArchConfig) -> Cost:
        """Cost of one subnet."""
        graph = shape_graph(space, arch)
        weights = sum(op.weight.size for op in graph.weighted())
        channels = sum(op.bias.size for op in graph.weighted())
        return Cost(
            macs=count_macs(graph),
            parameters=weights + channels,
            peak_sram=plan(graph).peak + self.reserve.sram,
            flash=constant_bytes(graph) + self.reserve.flash,
        )


def board_limits(board: BoardConfig) -> Limits:
    """The memory of the configured board."""
    return Limits(board.sram, board.flash)


def require_feasible(spaces: list[SearchSpace], cost: CostModel, limits: Limits) -> None:
    """Raise ConfigError where not even the smallest subnet of any space fits the board."""
    costs = [(cost(space, space.smallest()), space) for space in spaces]
    if any(limits.fit(smallest) for smallest, _ in costs):
        return
    smallest, space = min(costs, key=lambda pair: (pair[0].peak_sram, pair[0].flash))
    raise ConfigError(
        f"no subnet fits the board: the smallest (width_mult={space.width_mult}, "
        f"resolution={space.resolution}) needs a peak SRAM of {smallest.peak_sram} and a Flash of "
        f"{smallest.flash} bytes, of which tiny.reserve={asdict(cost.reserve)}; board.sram={limits.sram}, "
        f"board.flash={limits.flash}. Choose a larger board, or smaller tiny.space.width_mults, "
        "resolutions or depths"
    )
