"""`model.c` in the styles of `rivals.h`: plain weights, every tensor in memory of its own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.config.tiny import BoardConfig
from triptych.engine.emit import emit
from triptych.engine.firmware import write_firmware
from triptych.engine.integer import add_constants, clamp_range, quantization_of, requantization
from triptych.graph.ops import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    Op,
    Reshape,
    Weighted,
    inputs_of,
    paddings_of,
)

HERE = Path(__file__).parent
OURS = Conv2D | DepthwiseConv2D | FullyConnected | Add  # what the rivals write themselves


def write_rival(
    folder: Path,
    graph: Graph,
    board: BoardConfig,
    style: str,
    *,
    test_input: NDArray[np.int8],
    test_output: NDArray[np.int8],
) -> None:
    """Write firmware in a style, `naive` or `library`; operators that a style lacks are ours, in plain C."""
    write_firmware(folder, graph, board, test_input=test_input, test_output=test_output)
    for path in (*folder.rglob("*.S"), *(folder / "kernels").glob("*.c")):
        path.unlink()
    names = ("rivals.h", "naive.h", "library.c") if style == "library" else ("rivals.h", "naive.h")
    for name in names:
        (folder / name).write_text((HERE / name).read_text())
    (folder / "model.c").write_text(_source(graph, style))
    for op in graph.ops:
        if not isinstance(op, OURS):
            alone = emit(Graph(op.input, op.output, graph.tensors, (op,)))
            for name in alone:
                if name.startswith("kernels/"):
                    (folder / name).write_text(alone[name])


def _source(graph: Graph, style: str) -> str:
    indices = {name: index for index, name in enumerate(graph.tensors)}
    for op in graph.ops:
        if isinstance(op, Reshape):  # the same bytes
            indices[op.output] = indices[op.input]
    lines = ['#include "model.h"', '#include "kernels/kernels.h"', '#include "naive.h"', ""]
    lines += [f"static int8_t t{indices[name]}[{tensor.size}];" for name, tensor in graph.tensors.items()]
    if style == "library" and any(_columns(graph)):
        lines.append(f"static int16_t columns[{max(_columns(graph))}];")
    ops = [op for op in graph.ops if not isinstance(op, Reshape)]
    for index, op in enumerate(ops):
        places = ", ".join(f"t{indices[name]}" for name in (*inputs_of(op), op.output))
        lines += _operator(graph, op, index, style, places)
    calls = [f"    op{index}();" for index in range(len(ops))]
    return "\n".join(
        [
            *lines,
            f"int8_t *model_input(void) {{ return t{indices[graph.input]}; }}",
            f"const int8_t *model_output(void) {{ return t{indices[graph.output]}; }}",
            "void model_init(void) {}",
            "void model_run(void)\n{",
            *calls,
            "}",
            "",
        ]
    )


def _columns(graph: Graph) -> Iterator[int]:
    for op in graph.ops:
        if isinstance(op, Conv2D):
            yield 2 * op.weight[0].size  # taps by channels of one pixel, for two pixels


def _operator(graph: Graph, op: Op, index: int, style: str, places: str) -> list[str]:
    """A function without arguments: constants inside, so that they are compile-time ones for `naive`."""
    head = f"__attribute__((noinline)) static void op{index}(void)\n{{"
    if isinstance(op, Add):
        block, name, extra = _sum(graph, op), "add", ""
        arguments = f"&s, {places}"
    elif isinstance(op, Weighted):
        block, name = _weighted(graph, op), _name(op)
        extra = ", columns" if style == "library" and isinstance(op, Conv2D) else ""
        arguments = f"&s, &c, {places}{extra}"
    else:
        return [*_shared(graph, op, index, head, places), ""]
    return [head, *block, f"    {style}_{name}({arguments});", "}", ""]


def _shared(graph: Graph, op: Op, index: int, head: str, places: str) -> list[str]:
    """Our plain C kernel, as the generator would call it."""
    source = emit(Graph(op.input, op.output, graph.tensors, (op,)))["model.c"].splitlines()
    start = next(at for at, line in enumerate(source) if line.startswith("/* 0:"))
    declared = source[start : next(at for at, line in enumerate(source) if "model_arena[" in line)]
    call = next((line for line in source if line.startswith("    triptych_")), "")
    function = call.split("(")[0].strip()
    body = [line.replace("op0", f"op{index}_constants") for line in declared]
    return [*body, head, f"    {function}(&op{index}_constants, {places});", "}"]


def _name(op: Weighted) -> str:
    return {Conv2D: "conv2d", DepthwiseConv2D: "depthwise", FullyConnected: "fully_connected"}[type(op)]


def _weighted(graph: Graph, op: Weighted) -> list[str]:
    factors = requantization(graph, op)
    weight = op.weight[0] if isinstance(op, DepthwiseConv2D) else op.weight
    arrays = {
        "weight": weight.astype(np.int8),
        "bias": op.bias.astype(np.int32),
        "multiplier": factors.multiplier.astype(np.int32),
        "shift": factors.shift.astype(np.int8),
    }
    lines = [
        f"    static const int{8 * values.itemsize}_t {name}[] = {{{', '.join(map(str, values.ravel()))}}};"
        for name, values in arrays.items()
    ]
    fields = ", ".join(f".{name} = {value}" for name, value in _shape(graph, op).items())
    constants = ", ".join(f".{name} = {name}" for name in arrays)
    return [
        *lines,
        f"    static const rival_shape s = {{{fields}}};",
        f"    static const rival_constants c = {{{constants}}};",
    ]


def _shape(graph: Graph, op: Weighted) -> dict[str, int]:
    output = quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)
    fields = {
        "input_zero_point": quantization_of(graph, op.input).zero_point,
        "output_zero_point": output.zero_point,
        "low": low,
        "high": high,
        "output_channels": len(op.bias),
    }
    if isinstance(op, FullyConnected):
        return {**fields, "input_channels": op.weight.shape[1]}
    size, kernel = graph[op.input].shape[1:3], op.weight.shape[1:3]
    (top, _), (left, _) = paddings_of(size, kernel, op.stride, op.padding)
    pairs = {
        "input": size,
        "output": graph[op.output].shape[1:3],
        "kernel": kernel,
        "stride": op.stride,
    }
    for name, (height, width) in pairs.items():
        fields |= {f"{name}_height": int(height), f"{name}_width": int(width)}
    return {**fields, "input_channels": graph[op.input].shape[3], "pad_top": top, "pad_left": left}


def _sum(graph: Graph, op: Add) -> list[str]:
    constants = add_constants(graph, op)
    output = quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)

    def pair(values: tuple[int, ...]) -> str:
        return "{" + ", ".join(map(str, values)) + "}"

    fields = {
        "size": graph[op.output].size,
        "zero_point": pair(tuple(quantization_of(graph, name).zero_point for name in inputs_of(op))),
        "multiplier": pair(constants.multiplier),
        "shift": pair(constants.shift),
        "output_zero_point": output.zero_point,
        "output_multiplier": constants.output_multiplier,
        "output_shift": constants.output_shift,
        "low": low,
        "high": high,
    }
    return [
        "    static const rival_sum s = {" + ", ".join(f".{name} = {v}" for name, v in fields.items()) + "};"
    ]
