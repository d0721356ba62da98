"""The exact Pareto front of a whole space: the most computation for every peak SRAM and Flash.

Peak SRAM is a maximum over stages, so a level of SRAM is a limit on every stage.
Under it Flash and MACs are sums, and the front of a sum comes from the fronts of
its parts. Nothing is sampled, and no subnet is skipped but those that another
one beats.
"""

import numpy as np
from jaxtyping import Bool, Int64
from numpy import ndarray as Array

from triptych.graph.cost import BYTES_PER_CHANNEL
from triptych.tiny.cost import Limits
from triptych.tiny.tables import CostTables, Row

Points = Int64[Array, "_ 2"]  # Flash and MACs, both ascending


def front(tables: CostTables, limits: Limits) -> Int64[Array, "n 3"]:
    """(peak SRAM, Flash, MACs) of the subnets that none beats: less SRAM, less Flash, more MACs.

    SRAM is the bound of our planner's arena.
    """
    base = Row(*map(int, tables.base))
    start = np.array(
        [[int(tables.stored(tables.base[1:2])[0]) + BYTES_PER_CHANNEL * base.channels, base.macs]]
    )
    stages = [_stage(tables, table) for table in tables.tables]
    least = max(base.arena, *(int(arena.min()) for arena, _ in stages))
    levels = np.unique(np.maximum(np.concatenate([arena for arena, _ in stages]), least))
    known, found = start[:0], []
    for level in levels[levels <= limits.sram]:
        points = start
        for arena, costs in stages:
            points = _sum(points, best(costs[arena <= level]), limits.flash)
        new = points[~beaten(points, known)]
        found.append(np.column_stack([np.full(len(new), level), new]))
        known = best(np.concatenate([known, new]))
    return np.concatenate([np.empty((0, 3), np.int64), *found])


def best(points: Int64[Array, "_ 2"]) -> Points:
    """The points that none beats (less Flash, more MACs), each once."""
    ordered = points[np.lexsort((-points[:, 1], points[:, 0]))]
    before = np.maximum.accumulate(np.concatenate([[-1], ordered[:-1, 1]]))
    return ordered[ordered[:, 1] > before]


def beaten(points: Int64[Array, "n 2"], known: Points) -> Bool[Array, " n"]:
    """Which points some of `known` equals or beats."""
    at = np.searchsorted(known[:, 0], points[:, 0], side="right")
    most = np.concatenate([[-1], known[:, 1]])  # ascending, as Flash is
    return most[at] >= points[:, 1]


def _stage(
    tables: CostTables, table: Int64[Array, "columns codes"]
) -> tuple[Int64[Array, " n"], Int64[Array, "n 2"]]:
    """Arena, and Flash with MACs, of the codes of a stage that no other beats."""
    row = dict(zip(Row._fields, table, strict=True))
    arena, flash = row["arena"], tables.stored(row["weights"]) + BYTES_PER_CHANNEL * row["channels"]
    costs = np.column_stack([flash, row["macs"]])
    arenas, parts, known = [], [], costs[:0]
    for level in np.unique(arena):
        here = best(costs[arena == level])
        new = here[~beaten(here, known)]
        arenas.append(np.full(len(new), level))
        parts.append(new)
        known = best(np.concatenate([known, new]))
    return np.concatenate(arenas), np.concatenate(parts)


def _sum(one: Points, two: Points, flash: int) -> Points:
    sums = (one[:, None] + two[None]).reshape(-1, 2)
    return best(sums[sums[:, 0] <= flash])
