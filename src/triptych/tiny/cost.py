"""What a subnet costs on a board: exact MACs, parameters, arena and constants.

Peak SRAM comes from the planner that the code generator uses, on the graph
that the export builds, so prediction and firmware cannot disagree. What the
runtime, its code and the application need is subtracted from the board instead
(`tiny.reserve`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from triptych.config.tiny import BoardConfig, ReserveConfig
from triptych.errors import ConfigError
from triptych.graph.cost import constant_bytes, count_macs
from triptych.graph.memory import plan
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.export import shape_graph
from triptych.tiny.latency import InstructionTable, instructions


@dataclass(frozen=True)
class Cost:
    """`parameters` counts folded weights and biases; bytes of the arena and of the constants.

    `instructions` is None where no table of them was given.
    """

    macs: int
    parameters: int
    peak_sram: int
    flash: int
    instructions: int | None = None

    def to_json(self) -> dict[str, int]:
        """Plain numbers under the names of metrics."""
        numbers = {
            "macs": self.macs,
            "parameters": self.parameters,
            "peak_sram_predicted": self.peak_sram,
            "flash_predicted": self.flash,
        }
        return numbers if self.instructions is None else {**numbers, "instructions": self.instructions}


Costing = Callable[[SearchSpace, ArchConfig], Cost]


@dataclass(frozen=True)
class Limits:
    """What a network may use: bytes, and where they are limited, MACs and instructions."""

    sram: int
    flash: int
    macs: int | None = None
    instructions: int | None = None

    def fit(self, cost: Cost) -> bool:
        """Whether a network of this cost runs on the board, in time."""
        used = (cost.peak_sram, cost.flash, cost.macs, cost.instructions)
        limits = (self.sram, self.flash, self.macs, self.instructions)
        return all(
            limit is None or (n is not None and n <= limit) for n, limit in zip(used, limits, strict=True)
        )


def subnet_cost(
    space: SearchSpace, arch: ArchConfig, table: InstructionTable | None = None, *, weight_bits: int = 8
) -> Cost:
    """Cost of one subnet; instructions only by a table of them."""
    graph = shape_graph(space, arch, weight_bits)
    return Cost(
        macs=count_macs(graph),
        parameters=sum(op.weight.size + op.bias.size for op in graph.weighted()),
        peak_sram=plan(graph).peak,
        flash=constant_bytes(graph),
        instructions=None if table is None else instructions(graph, table),
    )


def board_limits(board: BoardConfig, reserve: ReserveConfig) -> Limits:
    """The memory of the board, less what is reserved."""
    return Limits(board.sram - reserve.sram, board.flash - reserve.flash)


def require_feasible(spaces: list[SearchSpace], cost: Costing, limits: Limits) -> None:
    """Raise ConfigError where not even the smallest subnet of any space fits the board."""
    costs = [(cost(space, space.smallest()), space) for space in spaces]
    if any(limits.fit(smallest) for smallest, _ in costs):
        return
    smallest, space = min(costs, key=lambda pair: (pair[0].peak_sram, pair[0].flash))
    raise ConfigError(
        f"no subnet fits the board: the smallest (width_mult={space.width_mult}, "
        f"resolution={space.resolution}) needs a peak SRAM of {smallest.peak_sram} and a Flash of "
        f"{smallest.flash} bytes; board.sram and board.flash less tiny.reserve leave {limits.sram} and "
        f"{limits.flash}. Choose a larger board, a smaller tiny.reserve, or smaller "
        "tiny.space.width_mults, resolutions or depths"
    )
