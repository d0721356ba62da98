"""What each idea of the engine is worth: one switched off at a time, instructions and SRAM measured.

    TRIPTYCH_MIRROR=<folder> python -m benchmarks.ablation [file] [--out folder]

The ideas of TinyEngine (MCUNet, NeurIPS 2020, section 3.2) and two of ours, measured on our own code:

    no code generation         C kernels with the DSP extension, every shape read at run time
    no tiling                  one pixel by two channels in registers, not three or four by two
    no unrolling               four taps a turn of the inner loop
    no scheduling              one form for all layers, that of least flash
    no fusion                  paddings and activations as operators of their own
    constant channels kept     what no input can change is computed
    ... not in place           outputs beside inputs that die

Every variant computes the same bytes. Without a file: `models/mcunet_vww1` of the mirror. Writes
`ablation.json` and `ablation.png`.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from triptych.config.tiny import BoardConfig
from triptych.deploy.generate import random_inputs
from triptych.engine import emit
from triptych.engine.eliminate import eliminate_constant_channels
from triptych.engine.firmware import write_firmware
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.engine.thumb.convolution import Convolution
from triptych.engine.thumb.layers import Kernel
from triptych.engine.thumb.schedule import schedule
from triptych.engine.toolchain import BARE, CPU, compile_c
from triptych.errors import DataError, MismatchError
from triptych.graph.arena import peak_of, plan_arena
from triptych.graph.lifetime import Lifetime
from triptych.graph.memory import lifetimes, plan
from triptych.graph.ops import (
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Op,
    Pad,
    Weighted,
    paddings_of,
)
from triptych.graph.tflite import read_tflite_file
from triptych.graph.validate import validate
from triptych.quantization.requantize import Rounding
from triptych.report.ablation import FULL, ablation_chart

BOARD = BoardConfig(name="simulated", cpu="cortex_m7", sram=1024 * 1024, flash=2048 * 1024)
Change = Callable[[Kernel], Kernel]


def unfused(graph: Graph) -> Graph:
    """The same network with its paddings and activations as operators of their own."""
    tensors, ops = dict(graph.tensors), []
    for op in graph.ops:
        op = _own_padding(graph, op, tensors, ops)
        if op.activation == "none" or not isinstance(op, Weighted) or isinstance(op, FullyConnected):
            ops.append(op)
            continue
        raw = f"{op.output} before its activation"
        tensors[raw] = replace(tensors[op.output], name=raw)
        ops.append(replace(op, output=raw, activation="none"))
        ops.append(
            MaxPool2D(f"{op.name} activation", raw, op.output, (1, 1), (1, 1), activation=op.activation)
        )
    return validate(Graph(graph.input, graph.output, tensors, tuple(ops)))


def _own_padding(graph: Graph, op: Op, tensors: dict, ops: list[Op]) -> Op:
    if not isinstance(op, Conv2D | DepthwiseConv2D):
        return op
    rows, columns = paddings_of(graph[op.input].shape[1:3], op.weight.shape[1:3], op.stride, op.padding)
    if not any((*rows, *columns)):
        return op
    name, (_, height, width, channels) = f"{op.input} padded for {op.output}", graph[op.input].shape
    shape = (1, height + sum(rows), width + sum(columns), channels)
    tensors[name] = replace(graph[op.input], name=name, shape=shape)
    ops.append(Pad(name, op.input, name, (rows, columns, (0, 0))))
    return replace(op, input=name, padding="valid")


def arena_without(graph: Graph, change: Callable[[Lifetime], Lifetime]) -> int:
    """Bytes of the arena where `change` takes from every lifetime what it may share."""
    spans = [change(span) for span in lifetimes(graph)]
    return peak_of(spans, plan_arena(spans))


def instructions(
    graph: Graph, image: NDArray[np.int8], expected: NDArray[np.int8], change: Change | None, *flags: str
) -> int:
    """Instructions of one inference; `change` alters the form of each generated layer."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_firmware(folder, graph, BOARD, test_input=image, test_output=expected)
        if change:
            for file, text in emit.emit(graph, flash=BOARD.flash, scheduler=_changed(change)).items():
                (folder / file).write_text(text)
        script = ["-T", str(folder / "linker.ld")]
        elf = compile_c(folder, folder / "a.elf", [*BARE, f"-mcpu={CPU[BOARD.cpu]}", *script, *flags])
        simulator = Simulator(elf, BOARD)
        if differing := simulator.boot():
            raise MismatchError(f"{differing} output bytes differ from the reference")
        return int(simulator.run(image[None], expected.size).instructions[0])


def _changed(change: Change) -> emit.Scheduler:
    def scheduler(
        graph: Graph, backwards: frozenset[str], *, flash: int, rounding: Rounding
    ) -> dict[str, Kernel]:
        chosen = schedule(graph, backwards, flash=flash, rounding=rounding)
        return {name: change(kernel) for name, kernel in chosen.items()}

    return scheduler


def _blocked(**fields: int | bool) -> Change:
    def change(kernel: Kernel) -> Kernel:
        if not isinstance(kernel, Convolution):
            return kernel
        return replace(kernel, blocking=replace(kernel.blocking, **fields))

    return change


def ablate(graph: Graph) -> tuple[dict[str, int], dict[str, int]]:
    """Instructions and bytes of the arena: the whole engine, then without one idea at a time."""
    image = random_inputs(graph, 1)
    expected, image = run(graph, image)[0], image[0]
    small = eliminate_constant_channels(graph)
    depthwise = {op.output for op in small.ops if isinstance(op, DepthwiseConv2D)}

    def count(network: Graph, change: Change | None = None, *flags: str) -> int:
        return instructions(network, image, expected, change, *flags)

    smallest = _blocked(bits=8, pixels=3, unroll=8)
    executed = {
        FULL: count(small),
        "no code generation": count(small, None, "-DTRIPTYCH_C_KERNELS"),
        "no tiling": count(small, _blocked(pixels=1)),
        "no unrolling": count(small, _blocked(unroll=1)),
        "no scheduling": count(small, smallest),
        "no fusion": count(unfused(small)),
        "constant channels kept": count(graph),
    }
    arena = {
        FULL: plan(small).peak,
        "depthwise not in place": arena_without(
            small, lambda span: replace(span, alias=None) if span.name in depthwise else span
        ),
        "convolutions not in place": arena_without(small, lambda span: replace(span, overlap=None)),
        "nothing in place": arena_without(small, lambda span: replace(span, alias=None, overlap=None)),
        "no fusion": plan(unfused(small)).peak,
        "constant channels kept": plan(graph).peak,
    }
    return executed, arena


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/ablation"))
    args = parser.parse_args()
    mirror = os.environ.get("TRIPTYCH_MIRROR")
    if not args.file and not mirror:
        raise DataError("TRIPTYCH_MIRROR is not set; set it or name a .tflite file")
    file = args.file or Path(mirror or "") / "models/mcunet_vww1_int8.tflite"
    executed, arena = ablate(read_tflite_file(file))
    args.out.mkdir(parents=True, exist_ok=True)
    result = json.dumps({"network": file.stem, "instructions": executed, "arena": arena}, indent=1)
    (args.out / "ablation.json").write_text(result + "\n")
    print(result)  # noqa: T201  # the command's answer
    title = f"{file.stem}: one idea switched off at a time"
    ablation_chart(title, executed, arena, args.out / "ablation.png")


if __name__ == "__main__":
    main()
