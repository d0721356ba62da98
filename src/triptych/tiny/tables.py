"""Costs of millions of subnets a second: a table a stage, instead of a graph a subnet.

Width, stride and resolution of a stage depend on the space alone, so what a
stage costs depends on its own choices alone. MACs, weights and channels of a
subnet are sums over its stages, peaks of memory are maxima.

The peaks are the bytes that must be apart during one operator: no plan needs
less, and an allocator may need more. In MCUNet's spaces our planner met the bound
on 1,786 of 1,800 random subnets and exceeded it by at most 0.2 %; TinyEngine's
exceeded its own on 1 %, by up to 12 %. So `arena` and `tinyengine_bound` are lower
bounds of `plan(graph).peak` and of `tinyengine_memory(graph).peak`, and `tflm_bound`
of `tflm_head(graph)`: whoever keeps a subnet asks the allocator once more
(`subnet_cost`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray as Array

from triptych.graph.cost import BYTES_PER_CHANNEL
from triptych.graph.memory import conv2d_scratch, depthwise_scratch
from triptych.graph.ops import padding_of
from triptych.graph.overlap import distances
from triptych.tiny.arch import ArchConfig, Block, SearchSpace
from triptych.tiny.cost import Cost, Limits
from triptych.tiny.tinyengine import FLASH_PER_CHANNEL
from triptych.tiny.topology import Layer, Unit, classifier, inverted_bottleneck, topology

CHUNK = 8192  # subnets at once: intermediate columns stay in the cache


class Row(NamedTuple):
    """Cost of a part of a network; the first `SUMS` add up, of the others the largest counts."""

    macs: int = 0
    weights: int = 0
    channels: int = 0
    arena: int = 0  # our kernels: tensors, less what they may overlap, and scratch
    live: int = 0  # tensors under TinyEngine
    sbuf: int = 0  # shared buffer of TinyEngine
    tflm: int = 0  # tensors under TFLM


SUMS = 3


@dataclass(frozen=True)
class Costs:
    """Costs of n subnets; sizes in bytes."""

    macs: Int64[Array, " n"]
    parameters: Int64[Array, " n"]
    flash: Int64[Array, " n"]
    arena: Int64[Array, " n"]  # lower bound of our planner's arena
    tinyengine_flash: Int64[Array, " n"]
    tinyengine_bound: Int64[Array, " n"]  # lower bound of TinyEngine's peak SRAM
    tflm_bound: Int64[Array, " n"]  # lower bound of the head of TFLM's arena


class CostTables:
    """The tables of one space. A subnet is a row of codes, one a stage."""

    def __init__(self, space: SearchSpace, weight_bits: int = 8) -> None:
        self.space, self.weight_bits = space, weight_bits
        self.blocks = [Block(k, e) for k in space.kernel_sizes for e in space.expand_ratios]
        fixed = [unit for unit in topology(space, space.smallest()) if len(unit.layers) != 3]
        size, rows = space.resolution, []
        for unit in fixed[:2]:  # stem and first block
            row, size = unit_cost(unit, size)
            rows.append(row)
        self.kbuf = 2 * 9 * space.channels * space.width(space.stem_width)  # of the stem's 3x3 weights
        channels = space.width(space.first_width)
        self.tables: list[Int64[Array, "columns codes"]] = []
        for stage in space.stages:
            outputs = space.width(stage.width)
            first = self._block_rows(channels, outputs, stage.stride, size)
            size, channels = -(-size // stage.stride), outputs
            other = self._block_rows(channels, outputs, 1, size)
            self.tables.append(_stage_table(first, other, stage.depths))
        rows += [unit_cost(unit, size)[0] for unit in fixed[2:]]
        rows.append(_head_cost(classifier(space), size))
        self.base = _total(rows)

    def costs(self, codes: Int64[Array, "n stages"]) -> Costs:
        """Costs of the subnets, in order."""
        parts = [self._chunk(codes[start : start + CHUNK].T) for start in range(0, len(codes), CHUNK)]
        macs, weights, channels, arena, live, sbuf, tflm = np.concatenate(parts, axis=1)
        stored = self.stored(weights)
        return Costs(
            macs=macs,
            parameters=weights + channels,
            flash=stored + BYTES_PER_CHANNEL * channels,
            arena=arena,
            tinyengine_flash=stored + FLASH_PER_CHANNEL * channels,
            tinyengine_bound=live + sbuf + self.kbuf,
            tflm_bound=tflm,
        )

    def stored(self, weights: Int64[Array, " n"]) -> Int64[Array, " n"]:
        """Bytes of so many weights: channels are multiples of 8, so no layer ends in half a byte."""
        return weights * self.weight_bits // 8

    def may_fit(self, arch: ArchConfig, limits: Limits) -> bool:
        """False only where the planner would refuse the subnet too: our arena is counted by its bound."""
        costs = self.costs(np.array([self.encode(arch)]))
        known = Cost(*(int(column[0]) for column in (costs.macs, costs.parameters, costs.arena, costs.flash)))
        return replace(limits, instructions=None).fit(known)

    def encode(self, arch: ArchConfig) -> list[int]:
        """The codes of a subnet: its depth, then its blocks as digits."""
        return [self._starts(i)[len(blocks)] + self._digits(blocks) for i, blocks in enumerate(arch.stages)]

    def random(self, n: int, rng: np.random.Generator) -> Int64[Array, "n stages"]:
        """Codes of `n` subnets by the law of `SearchSpace.random`: depths are uniform, then blocks."""
        columns = []
        for i, stage in enumerate(self.space.stages):
            depth = rng.choice(stage.depths, n)
            starts = np.zeros(max(stage.depths) + 1, np.int64)
            starts[list(self._starts(i))] = list(self._starts(i).values())
            columns.append(starts[depth] + rng.integers(0, len(self.blocks) ** depth))
        return np.stack(columns, axis=1)

    def law(self) -> list[Float64[Array, " codes"]]:
        """Probability of each code, a stage, under `random`."""
        n = len(self.blocks)
        return [
            np.concatenate([np.full(n**depth, 1 / n**depth / len(stage.depths)) for depth in stage.depths])
            for stage in self.space.stages
        ]

    def _starts(self, stage: int) -> dict[int, int]:
        depths = self.space.stages[stage].depths
        ends = accumulate((len(self.blocks) ** depth for depth in depths), initial=0)
        return dict(zip(depths, ends, strict=False))

    def _digits(self, blocks: tuple[Block, ...]) -> int:
        code = 0
        for block in blocks:
            code = code * len(self.blocks) + self.blocks.index(block)
        return code

    def _block_rows(self, inputs: int, outputs: int, stride: int, size: int) -> Int64[Array, "columns codes"]:
        units = (inverted_bottleneck("block", block, inputs, outputs, stride) for block in self.blocks)
        return np.array([unit_cost(unit, size)[0] for unit in units], np.int64).T

    def _chunk(self, codes: Int64[Array, "stages n"]) -> Int64[Array, "columns n"]:
        out = np.repeat(self.base[:, None], codes.shape[1], axis=1)
        for table, code in zip(self.tables, codes, strict=True):
            for i, (total, column) in enumerate(zip(out, table, strict=True)):
                (np.add if i < SUMS else np.maximum)(total, column.take(code), out=total)
        return out


def unit_cost(unit: Unit, size: int) -> tuple[Row, int]:
    """Cost of a unit on a square input of `size`, and the size of its output."""
    rows: list[Row] = []
    entry = size * size * unit.layers[0].inputs
    held = 0  # bytes before the layer, beside the unit's input
    for i, layer in enumerate(unit.layers):
        kept = entry if unit.residual and i > 0 else 0
        row, size, held = _layer_cost(layer, size, held or entry, kept, stays=unit.residual and i == 0)
        rows.append(row)
    if unit.residual:
        expanded = entry // unit.layers[0].inputs * unit.layers[0].outputs
        tflm = entry + max(
            entry + expanded, 2 * entry
        )  # its expansion reads a copy of the input, which stays
        rows.append(Row(arena=2 * entry, live=3 * entry, tflm=tflm))  # only ours adds in place
    return Row(*map(int, _total(rows))), size


def block_peaks(space: SearchSpace, arch: ArchConfig) -> list[int]:
    """Bytes of our arena that each unit of a network needs at once: stem, first block, then the others."""
    size, peaks = space.resolution, []
    for unit in topology(space, arch):
        row, size = unit_cost(unit, size)
        peaks.append(row.arena)
    return peaks


def _layer_cost(layer: Layer, size: int, held: int, kept: int, *, stays: bool) -> tuple[Row, int, int]:
    """Cost, size of the output, and bytes that TinyEngine counts for the output.

    `stays` says that the input is read again later, so that the output may not run into it.
    """
    rows, k = -(-size // layer.stride), layer.kernel_size
    before, after = size * size * layer.inputs, rows * rows * layer.outputs
    if layer.kind == "depthwise":
        weights = k * k * layer.outputs
        scratch = depthwise_scratch((rows, rows), (k, k), (layer.stride, layer.stride))
        arena = max(before, after)
        live, sbuf = held, 2 * (size + k - 1) ** 2
        counted = -(-before // layer.stride**2)
    else:
        weights = k * k * layer.inputs * layer.outputs
        arena = before + after if stays else _overlapping(layer, size, rows)
        live, sbuf, counted = held + after, 4 * k * k * layer.inputs, after
        pixel = k == layer.stride == 1 and layer.inputs % 4 == 0
        scratch = conv2d_scratch(k * k * layer.inputs, reads_pixels=pixel)
    padded = (size + k - 1) ** 2 * layer.inputs
    tflm = padded + max(before, after) + kept  # PAD, then the convolution
    row = Row(weights * rows * rows, weights, layer.outputs, arena + kept + scratch, live + kept, sbuf, tflm)
    return row, rows, counted


def _overlapping(layer: Layer, size: int, rows: int) -> int:
    """Bytes of a convolution's input and output together, which lie as far over each other as they may."""
    source, output = (size, size, layer.inputs), (rows, rows, layer.outputs)
    k, stride = layer.kernel_size, layer.stride
    before = padding_of(size, k, stride, "same")[0]
    below, _ = distances(source, output, (k, k), (stride, stride), (before, before))
    return max(prod(output), below + prod(source))


def _head_cost(layer: Layer, size: int) -> Row:
    weights, features = layer.inputs * layer.outputs, layer.inputs
    alive = max(size * size * features + features, features + layer.outputs)
    return Row(weights, weights, layer.outputs, alive, alive, tflm=alive)


def _total(rows: Iterable[Row]) -> Int64[Array, " columns"]:
    values = np.array(list(rows), np.int64)
    return np.concatenate([values[:, :SUMS].sum(0), values[:, SUMS:].max(0)])


def _stage_table(
    first: Int64[Array, "columns blocks"], other: Int64[Array, "columns blocks"], depths: tuple[int, ...]
) -> Int64[Array, "columns codes"]:
    by_depth = [first]
    while len(by_depth) < max(depths):
        before, last = by_depth[-1][:, :, None], other[:, None, :]
        sums, peaks = before[:SUMS] + last[:SUMS], np.maximum(before[SUMS:], last[SUMS:])
        by_depth.append(np.concatenate([sums, peaks]).reshape(len(Row._fields), -1))
    return np.concatenate([by_depth[depth - 1] for depth in depths], axis=1)
