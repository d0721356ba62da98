"""Generated code against two usual ways to write it: instructions, exact outputs, one run.

    TRIPTYCH_MIRROR=<folder> python -m benchmarks.engine [files] [--json out.json]

Without files: the four networks of `models/` in the mirror. All three programs are built by the
same compiler with the same flags, run on the same simulated board and must give the same bytes.
Instructions are not cycles, and nothing here says milliseconds.
"""

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.rivals.model import write_rival
from triptych.config.tiny import BoardConfig
from triptych.deploy.generate import random_inputs
from triptych.engine.eliminate import eliminate_constant_channels
from triptych.engine.firmware import write_firmware
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.engine.toolchain import build_firmware
from triptych.errors import DataError, MismatchError
from triptych.graph.cost import count_macs
from triptych.graph.ops import FullyConnected, Graph, Op, Reshape, Weighted
from triptych.graph.tflite import read_tflite_file

BOARD = BoardConfig(name="simulated", cpu="cortex_m7", sram=4096 * 1024, flash=8192 * 1024)
STYLES = ("generated", "library", "naive")
NETWORKS = ("mlperf_kws", "mlperf_resnet", "mlperf_vww", "mcunet_vww1")
# Figures of others. NOT measured here: executed Thumb-2 instructions in millions by QEMU 7.2.22 (mps2-an500)
# with arm-none-eabi-gcc 12.2.1 -O3, tflite-micro with CMSIS-NN and TinyEngine at commit 47bb283, from int8
# input; TinyEngine's outputs are not TFLite's. "published" is TinyEngine's README, on an STM32H743.
OTHERS = {
    "mcunet_vww1": {"TFLM + CMSIS-NN": 48.54, "TinyEngine": 34.55},
    "mlperf_vww": {"TFLM + CMSIS-NN": 24.50, "TinyEngine, softmax removed by hand": 19.75},
    "mlperf_kws": {"TFLM + CMSIS-NN": 7.76},
    "mlperf_resnet": {"TFLM + CMSIS-NN": 29.94},
}
PUBLISHED = "TinyEngine's README, vww1: 92 kB SRAM, 521 kB flash; TFLM 220 kB SRAM"


@dataclass(frozen=True)
class Layer:
    """One operator and the instructions that each style executes for it."""

    index: int
    kind: str
    output: tuple[int, ...]
    macs: int
    instructions: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    """One network; `flash` is code and constants, `layers` are those that execute anything."""

    name: str
    macs: int
    instructions: dict[str, int]
    flash: dict[str, int]
    layers: list[Layer]
    without_constant_channels: int  # instructions of the firmware that the product writes


def compare(graph: Graph, name: str) -> Comparison:
    """Build, run and profile `graph` in every style. Raises MismatchError where one computes otherwise."""
    image = random_inputs(graph, 1)
    expected = run(graph, image)[0]
    profiles, totals, flash = {}, {}, {}
    for style in (*STYLES, "product"):
        with TemporaryDirectory() as folder:
            simulator = _simulator(Path(folder), graph, style, image[0], expected)
            if differing := simulator.boot():
                raise MismatchError(f"{name}, {style}: {differing} output bytes differ from the reference")
            totals[style] = int(simulator.run(image, expected.size).instructions[0])
            flash[style] = simulator.image.flash
            if style in STYLES:
                profiles[style] = simulator.profile(image[0])
    ops = [(index, op) for index, op in enumerate(graph.ops) if not isinstance(op, Reshape)]
    layers = [
        Layer(
            index,
            type(op).__name__,
            graph[op.output].shape,
            _macs(graph, op),
            dict(zip(STYLES, counts, strict=True)),
        )
        for (index, op), counts in zip(ops, zip(*profiles.values(), strict=True), strict=True)
    ]
    return Comparison(name, count_macs(graph), totals, flash, layers, totals.pop("product"))


def _simulator(
    folder: Path, graph: Graph, style: str, image: NDArray[np.int8], expected: NDArray[np.int8]
) -> Simulator:
    if style in ("product", "generated"):
        network = eliminate_constant_channels(graph) if style == "product" else graph
        write_firmware(folder, network, BOARD, test_input=image, test_output=expected)
    else:
        write_rival(folder, graph, BOARD, style, test_input=image, test_output=expected)
    return Simulator(build_firmware(folder, folder / "a.elf", BOARD), BOARD)


def _macs(graph: Graph, op: Op) -> int:
    if not isinstance(op, Weighted):
        return 0
    pixels = 1 if isinstance(op, FullyConnected) else int(np.prod(graph[op.output].shape[1:3]))
    return op.weight.size * pixels


def show(comparison: Comparison, console: Console) -> None:
    """Print the layers and the sum of one network."""
    table = Table(title=f"{comparison.name}: instructions per MAC (per element where there are none)")
    for column in ("", "operator", "output", "MACs", *STYLES):
        table.add_column(column, justify="right")
    for layer in comparison.layers:
        per = layer.macs or int(np.prod(layer.output))
        counts = [f"{layer.instructions[style] / per:.2f}" for style in STYLES]
        table.add_row(str(layer.index), layer.kind, str(list(layer.output)), f"{layer.macs:,}", *counts)
    totals = [f"{comparison.instructions[style] / 1e6:.2f} M" for style in STYLES]
    table.add_row("", "network", "", f"{comparison.macs:,}", *totals)
    flash = [f"{comparison.flash[style]:,} B" for style in STYLES]
    table.add_row("", "flash", "", "", *flash)
    console.print(table)
    console.print(f"  constant channels left out: {comparison.without_constant_channels / 1e6:.2f} M")
    for rival, millions in OTHERS.get(comparison.name, {}).items():
        console.print(f"  {rival}: {millions} M (not measured here)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    mirror = os.environ.get("TRIPTYCH_MIRROR")
    if not args.files and not mirror:
        raise DataError("TRIPTYCH_MIRROR is not set; set it or name .tflite files")
    files = args.files or [Path(mirror or "") / f"models/{name}_int8.tflite" for name in NETWORKS]
    console, results = Console(width=110), []
    for path in files:
        results.append(compare(read_tflite_file(path), path.stem.removesuffix("_int8")))
        show(results[-1], console)
    console.print(f"Not measured here: {PUBLISHED}")
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
