"""The firmware's numbers: compiled, simulated, compared, proved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8, Int64

from triptych.config.tiny import BoardConfig
from triptych.engine.emit import computes
from triptych.engine.firmware import require_board
from triptych.engine.oracle import run_litert
from triptych.engine.proof import prove_peak
from triptych.engine.reference import run
from triptych.engine.simulate import Run, Simulator
from triptych.engine.stack import stack_bound
from triptych.engine.toolchain import build_firmware
from triptych.errors import MismatchError
from triptych.graph.cost import count_macs
from triptych.graph.memory import Plan, plan
from triptych.graph.ops import Graph
from triptych.graph.tflite import read_tflite
from triptych.quantization.requantize import Rounding


@dataclass(frozen=True)
class Measurement:
    """Numbers for `metrics.json`, and where the bytes went for `footprint.json`."""

    metrics: dict[str, int | float]
    footprint: dict[str, Any]


def measure(  # noqa: PLR0913  # what to build, what to run, what to expect
    firmware: Path,
    content: bytes,
    board: BoardConfig,
    inputs: Int8[np.ndarray, "n height width channels"],
    labels: Int64[np.ndarray, " n"],
    *,
    scratch: Path,
    rounding: Rounding = "tflite",
) -> Measurement:
    """Build the sources in `firmware`, run `inputs` on the board, and compare every output byte.

    content   the `.tflite` file that the firmware was generated from
    scratch   a folder for object files
    rounding  of the firmware: the judge is LiteRT's reference kernels (`tflite`), or what it runs by default
              (`single`). That has no rounding of its own for weights of 4 bits: there it is counted only

    Raises MismatchError where the board differs from the reference or from LiteRT,
    BoardError where the firmware does not fit or is for another board, FaultError
    where it faults.
    """
    require_board(firmware, board)
    graph = read_tflite(content)
    elf = build_firmware(firmware, scratch / "firmware.elf", board)
    simulator = Simulator(elf, board)
    if status := simulator.boot():
        raise MismatchError(f"{status} output bytes of the board's self-test differ from its test vector")
    on_board = simulator.run(inputs, graph[graph.output].size)
    _compare(on_board, run(graph, inputs, rounding=rounding), "the integer reference")
    kernels = "reference" if rounding == "tflite" else "xnnpack"
    theirs = run_litert(content, inputs, kernels=kernels).reshape(on_board.outputs.shape)
    if rounding == "tflite" or all(op.weight_bits == 8 for op in graph.weighted()):
        _compare(on_board, theirs, f"LiteRT's {kernels} kernels")
    image = simulator.image
    worst = int(on_board.instructions.max())
    sizes = {
        "arena": image.sizes["model_arena"],
        "stack": on_board.stack,
        "stack_bound": stack_bound(elf),
        "peak_sram": image.static_sram + on_board.stack,
        "sram_proven": prove_peak(firmware, scratch, board, stack=on_board.stack),
        "flash": image.flash,
    }
    metrics = {
        **sizes,
        "instructions": worst,
        "instructions_per_mac": round(worst / count_macs(graph), 4),
        "board_accuracy": float((on_board.outputs.argmax(1) == labels).mean()),
        "mismatches_reference": 0,
        "mismatches_litert": int((theirs != on_board.outputs).sum()),
        "inputs_compared": len(inputs),
    }
    limits = {"board": board.name, "board_sram": board.sram, "board_flash": board.flash}
    return Measurement(metrics, {**limits, **sizes})


def _compare(on_board: Run, expected: Int8[np.ndarray, "n ..."], judge: str) -> None:
    differs = on_board.outputs != expected.reshape(on_board.outputs.shape)
    if differs.any():
        first = int(np.flatnonzero(differs.any(axis=1))[0])
        raise MismatchError(
            f"the board differs from {judge} in {int(differs.sum())} bytes of {differs.size}, "
            f"first on input {first}: {on_board.outputs[first].tolist()}"
        )


def layer_table(graph: Graph, calls: Sequence[int]) -> list[dict[str, Any]]:
    """What each operator costs; `calls` are the instructions that `Simulator.profile` counted.

    `alive` is how much of the arena holds a value while the operator runs, in bytes.
    """
    placed, rest = plan(graph), iter(calls)
    rows = [
        {
            "name": op.output,
            "operator": type(op).__name__,
            "output": list(graph[op.output].shape),
            "macs": count_macs(Graph(op.input, op.output, graph.tensors, (op,))),
            "instructions": next(rest) if computes(op, placed.tensors) else 0,
            "alive": _alive(placed, index),
        }
        for index, op in enumerate(graph.ops)
    ]
    assert next(rest, None) is None, "more calls than operators"
    return rows


def _alive(placed: Plan, index: int) -> int:
    """Bytes of the arena that some tensor or scratch covers during operator `index`."""
    spans = [span for span in placed.lifetimes if span.first <= index <= span.last]
    covered = np.zeros(placed.peak, bool)
    for span in spans:
        at = placed.offset(span)
        covered[at : at + span.size] = True
    return int(covered.sum())


def tensor_table(graph: Graph) -> list[dict[str, Any]]:
    """Offset, size and lifetime of everything in the arena."""
    placed = plan(graph)
    return [
        {
            "name": span.name,
            "offset": placed.offset(span),
            "size": span.size,
            "first": span.first,
            "last": span.last,
        }
        for span in placed.lifetimes
    ]
