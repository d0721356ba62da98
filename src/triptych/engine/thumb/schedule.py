"""How each layer is cut: one choice for the whole network.

Every layer has a few forms: int16 or int8 weights, 3 or 4 pixels at once, taps in a
loop or not, padding multiplied or left out. A form costs instructions an
inference and bytes of flash; layers with the same function share its code, so they
take the same form. The choice minimises

    sum of instructions + EXCHANGE * sum of bytes,  sum of bytes <= flash

a multiple-choice knapsack, solved exactly by dynamic programming over flash in steps
of STEP bytes, to which every group's bytes are rounded up. Instructions are counted
while the code is generated; a Thumb-2 instruction is taken for four bytes.
Scratch does not depend on the form: the plan reserves it for four pixels.

Source: model-level scheduling, MCUNet (NeurIPS 2020), section 3.2.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from triptych.engine.thumb.layers import Kernel, emitted, kernels_of, stream_bytes
from triptych.graph.ops import Graph
from triptych.quantization.requantize import Rounding

EXCHANGE = 4.0  # instructions of an inference that a byte of flash must save
STEP = 128  # bytes


@dataclass(frozen=True)
class Option:
    """One form of a group of layers: instructions of all of them, bytes of their streams and shared code."""

    kernel: Kernel
    instructions: float
    flash: int

    @property
    def steps(self) -> int:
        """Bytes in whole steps."""
        return -(-self.flash // STEP)

    @property
    def cost(self) -> float:
        """What is minimised."""
        return self.instructions + EXCHANGE * self.flash


def schedule(
    graph: Graph, backwards: frozenset[str], *, flash: int, rounding: Rounding = "tflite"
) -> dict[str, Kernel]:
    """The function of each generated layer, by the name of its output; at most `flash` bytes together.

    `backwards` names outputs whose layers walk from the last pixel to the first. Where
    nothing fits, the smallest forms: the linker has the last word.
    """
    groups: dict[tuple[Kernel, ...], list[str]] = defaultdict(list)
    for op in graph.ops:
        if kernels := kernels_of(graph, op, backwards=op.output in backwards, rounding=rounding):
            groups[kernels].append(op.output)
    chosen = choose([_options(kernels, len(names)) for kernels, names in groups.items()], flash)
    pairs = zip(chosen, groups.values(), strict=True)
    return {name: option.kernel for option, names in pairs for name in names}


def _options(kernels: tuple[Kernel, ...], layers: int) -> list[Option]:
    return [
        Option(kernel, layers * instructions, layers * stream_bytes(kernel) + size)
        for kernel in kernels
        for instructions, size in [emitted(kernel)]
    ]


def choose(groups: Sequence[Sequence[Option]], flash: int) -> list[Option]:
    """One option of each group, least in total cost within `flash` bytes, or the smallest of each."""
    smallest = [min(options, key=lambda option: option.flash) for options in groups]
    room = flash // STEP
    if sum(option.steps for option in smallest) > room:
        return smallest
    best = np.zeros(room + 1)  # least cost of the groups so far, by steps
    picks = []
    for options in groups:
        totals = np.full((len(options), room + 1), np.inf)
        for row, option in zip(totals, options, strict=True):
            if option.steps <= room:
                row[option.steps :] = best[: room + 1 - option.steps] + option.cost
        picks.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    chosen = []
    for options, pick in zip(reversed(groups), reversed(picks), strict=True):
        chosen.append(options[pick[room]])
        room -= chosen[-1].steps
    return chosen[::-1]
