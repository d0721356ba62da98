"""How much of a space fits a board, and the mean MACs of that part: over all subnets, without sampling.

Stages are independent under the law of `SearchSpace.random`, so the joint law of
Flash and MACs builds up stage by stage: for each Flash, the probability and the
first moment of MACs. A limit on a maximum is a limit on every stage.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray as Array
from scipy.signal import fftconvolve

from triptych.graph.cost import BYTES_PER_CHANNEL
from triptych.tiny.cost import Limits
from triptych.tiny.tables import CostTables, Row
from triptych.tiny.tinyengine import FLASH_PER_CHANNEL

Memory = Literal["ours", "tinyengine", "tflm"]
ROUNDING = 1e-12  # of probabilities
Moments = Float64[Array, "2 _"]  # probability, and probability times mean MACs, by Flash


class Fitting(NamedTuple):
    """Share of the subnets that fit, and their mean MACs (0 where none fits)."""

    share: float
    mean_macs: float


def fitting(tables: CostTables, limits: Limits, *, memory: Memory = "ours", step: int = 1024) -> Fitting:
    """The part of the space of `tables` within `limits`.

    `memory` names whose bounds of `tables` count as peak SRAM (of TFLM the head of
    its arena) and whose constants as Flash. Each stage's Flash is rounded to a
    multiple of `step` bytes, so the limit is met to `step / 2` a stage; `step=1` is
    exact and slow.
    """
    base = Row(*map(int, tables.base))
    room = (limits.flash - int(_flash(tables, tables.base[:, None], memory)[0])) // step
    if room < 0:
        return Fitting(0.0, 0.0)
    probability = moment = 0.0
    for sign, masks in _events(tables, limits.sram, memory):
        law = np.array([[1.0], [float(base.macs)]])
        for table, mask, weights in zip(tables.tables, masks, tables.law(), strict=True):
            row = _columns(table[:, mask])
            bins = (_flash(tables, table[:, mask], memory) + step // 2) // step
            law = _join(law, _histogram(bins, row["macs"], weights[mask], room))[:, : room + 1]
        probability += sign * law[0].sum()
        moment += sign * law[1].sum()
    if probability < ROUNDING:
        return Fitting(0.0, 0.0)
    return Fitting(float(probability), float(moment / probability))


class Distribution(NamedTuple):
    """`share` of the fitting subnets has at most `macs`."""

    macs: Float64[Array, " n"]
    share: Float64[Array, " n"]


def distribution(
    tables: CostTables, limits: Limits, *, memory: Memory = "ours", bins: tuple[int, int] = (64, 256)
) -> Distribution:
    """The law of the MACs of the subnets that fit, on a grid of (Flash, MACs) with `bins` cells.

    Each stage is rounded to the nearest cell: for figures. `fitting` has the exact mean.
    """
    base = Row(*map(int, tables.base))
    flash_step = max(
        1, (limits.flash - int(_flash(tables, tables.base[:, None], memory)[0])) // (bins[0] - 1)
    )
    macs_step = max(1, sum(int(table[0].max()) for table in tables.tables) // (bins[1] - 1))
    total = np.zeros(bins)
    for sign, masks in _events(tables, limits.sram, memory):
        law = np.zeros(bins)
        law[0, 0] = sign
        for table, mask, weights in zip(tables.tables, masks, tables.law(), strict=True):
            row = _columns(table[:, mask])
            flash = _flash(tables, table[:, mask], memory)
            cells = np.column_stack([flash / flash_step, row["macs"] / macs_step])
            edges = [np.arange(size + 1) - 0.5 for size in bins]
            stage, _ = np.histogramdd(np.rint(cells), edges, weights=weights[mask])
            law = fftconvolve(law, stage)[: bins[0], : bins[1]]
        total += law
    share = np.maximum.accumulate(np.cumsum(total.sum(0)).clip(0))  # of the transform's rounding
    return Distribution(
        base.macs + macs_step * np.arange(bins[1], dtype=np.float64), share / max(share[-1], ROUNDING)
    )


def per_channel(memory: Memory) -> int:
    """Bytes of Flash beside the weights, a channel."""
    return BYTES_PER_CHANNEL if memory == "ours" else FLASH_PER_CHANNEL


def _flash(tables: CostTables, columns: Int64[Array, "columns n"], memory: Memory) -> Int64[Array, " n"]:
    _, weights, channels, *_ = columns
    return tables.stored(weights) + per_channel(memory) * channels


def _events(
    tables: CostTables, sram: int, memory: Memory
) -> Iterator[tuple[int, list[Bool[Array, " codes"]]]]:
    """Events by the codes that each stage may have, with signs; they add up to `peak <= sram`.

    TinyEngine's peak is a sum of two maxima, so it is split by the value of the second.
    """
    base = Row(*map(int, tables.base))
    rows = [_columns(table) for table in tables.tables]
    if memory != "tinyengine":
        column = "arena" if memory == "ours" else "tflm"
        if getattr(base, column) <= sram:
            yield 1, [row[column] <= sram for row in rows]
        return
    values = np.unique(np.concatenate([np.array([base.sbuf]), *(row["sbuf"] for row in rows)]))
    below = -1
    for sbuf in values[values >= base.sbuf]:
        live = sram - tables.kbuf - sbuf
        if base.live <= live:
            for sign, most in ((1, sbuf), (-1, below)):
                if most >= base.sbuf:
                    yield sign, [(row["sbuf"] <= most) & (row["live"] <= live) for row in rows]
        below = sbuf


def _columns(table: Int64[Array, "columns n"]) -> dict[str, Int64[Array, " n"]]:
    return dict(zip(Row._fields, table, strict=True))


def _histogram(
    bins: Int64[Array, " n"], macs: Int64[Array, " n"], weights: Float64[Array, " n"], room: int
) -> Moments:
    small = bins <= room
    bins, macs, weights = bins[small], macs[small], weights[small]
    law = np.stack([np.bincount(bins, weights, 1), np.bincount(bins, weights * macs, 1)])
    return law.astype(np.float64)  # bincount of nothing is int64


def _join(one: Moments, two: Moments) -> Moments:
    """The law of a sum of independent parts."""
    probability = np.convolve(one[0], two[0])
    return np.stack([probability, np.convolve(one[0], two[1]) + np.convolve(one[1], two[0])])
