"""How many instructions a subnet will take, before it is compiled: the sum of its layers' counts.

The counts are measured once for each kind of layer on the simulated board and
kept as JSON (stage `tiny_instructions`), {signature: instructions} with `graph.cost.signature` as the key.
A space has few kinds: the subnets of `covering` have them all.
"""

from collections.abc import Mapping
from pathlib import Path

from triptych.data.files import read_json
from triptych.errors import DataError
from triptych.graph.cost import signature
from triptych.graph.ops import Graph
from triptych.tiny.arch import ArchConfig, Block, SearchSpace

InstructionTable = Mapping[str, int]


def covering(space: SearchSpace) -> list[ArchConfig]:
    """Subnets that have, together, every kind of layer that a subnet of `space` may have."""
    blocks = [Block(k, e) for k in space.kernel_sizes for e in space.expand_ratios]
    return [
        ArchConfig(
            space.width_mult,
            space.resolution,
            tuple((block,) * stage.depths[-1] for stage in space.stages),
        )
        for block in blocks
    ]


def read_table(path: Path) -> InstructionTable:
    """Raises DataError where the file is missing or holds anything but counts."""
    table = read_json(path)
    if not isinstance(table, dict) or not all(isinstance(n, int) and n >= 0 for n in table.values()):
        raise DataError(f"{path} is not a table of instructions: expected {{signature: count}}")
    return table


def instructions(graph: Graph, table: InstructionTable) -> int:
    """Of one inference. Raises DataError, naming the layer, where the table has no count for it."""
    total = 0
    for op in graph.ops:
        key = signature(op, graph)
        if key not in table:
            raise DataError(
                f"the table of instructions has no count for {key!r}; measure the subnets of "
                "triptych.tiny.latency.covering for this space, or set tiny.search.instructions=false"
            )
        total += table[key]
    return total
