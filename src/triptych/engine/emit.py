"""From an integer network to C: constants, one arena, and one kernel call for each operator.

The kernels are files of this package; the generated `model.c` holds data and
calls alone, at the offsets that `graph/memory.py` planned.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from triptych.engine.header import comment, model_header
from triptych.engine.thumb.layers import Kernel, Program, layer_of
from triptych.engine.thumb.schedule import schedule
from triptych.engine.unweighted import unweighted_fields
from triptych.engine.weighted import Arrays, Value, weighted_fields
from triptych.graph import int4, ops
from triptych.graph.memory import Plan, plan
from triptych.graph.ops import Graph, Op, Weighted, inputs_of
from triptych.quantization.requantize import Rounding

HEADERS = ("arithmetic.h", "common.h", "dsp.h", "kernels.h")
FLASH = 1 << 20  # bytes, where no board says otherwise
Scheduler = Callable[..., dict[str, Kernel]]  # as `schedule`
KERNELS: dict[type[Op], str] = {
    ops.Conv2D: "conv2d",
    ops.DepthwiseConv2D: "depthwise_conv2d",
    ops.FullyConnected: "fully_connected",
    ops.Add: "add",
    ops.AveragePool2D: "average_pool2d",
    ops.MaxPool2D: "max_pool2d",
    ops.Mean: "mean",
    ops.Pad: "pad",
    ops.ResizeNearest: "resize_nearest",
    ops.Softmax: "softmax",
    ops.Requantize: "rescale",
    ops.Reshape: "copy",
}


def emit(
    graph: Graph, *, flash: int = FLASH, scheduler: Scheduler = schedule, rounding: Rounding = "tflite"
) -> dict[str, str]:
    """The sources of `graph` by file name: `model.c`, `model.h`, `model.S` and the C kernels.

    Generated code and its constants share `flash` bytes (`thumb/schedule.py`);
    another `scheduler` serves measurements.

    Raises UnsupportedError where an operator's arithmetic could overflow.
    """
    program = Program()
    chosen = scheduler(graph, plan(graph).backwards, flash=flash, rounding=rounding)
    return {
        "model.c": _model_source(graph, program, chosen, rounding),
        "model.S": program.text(),
        "model.h": model_header(graph),
        **_kernel_files(graph, rounding),
    }


def _kernel_files(graph: Graph, rounding: Rounding) -> dict[str, str]:
    """The C kernels that `graph` calls, by file name, with the arithmetic of `rounding`."""
    places = plan(graph).tensors
    kernels = {kernel_of(op) for op in graph.ops if computes(op, places)}
    folder = files("triptych.engine") / "kernels"
    files_of = {name: folder / name for name in (*HEADERS, *(f"{kernel}.c" for kernel in sorted(kernels)))}
    if rounding == "single":
        own = [path for path in (folder / "single").iterdir() if path.name in files_of]
        files_of |= {path.name: path for path in own}
    return {f"kernels/{name}": path.read_text() for name, path in files_of.items()}


def _model_source(graph: Graph, program: Program, kernels: Mapping[str, Kernel], rounding: Rounding) -> str:
    """`model.c`; the functions that it calls on a DSP target, `kernels`, are added to `program`."""
    placed = plan(graph)
    constants: list[str] = []
    calls: list[str] = []
    for index, op in enumerate(graph.ops):
        symbol = f"op{index}"
        if not computes(op, placed.tensors):
            continue
        title = f"/* {index}: {type(op).__name__} {comment(op.name)} -> {list(graph[op.output].shape)} */"
        backwards = op.output in placed.backwards
        declared, call = (
            _constants(graph, op, symbol, rounding, backwards=backwards),
            _call(op, placed, symbol),
        )
        if op.output not in kernels:
            constants += [title, *declared, ""]
            calls.append(call)
            continue
        layer = layer_of(graph, op, kernels[op.output], rounding)
        name = program.add(f"{symbol}_stream", layer)
        stream = [f"extern const uint32_t {symbol}_stream[];", f"triptych_generated {name};"]
        constants += [title, "#ifdef TRIPTYCH_THUMB", *stream, "#else", *declared, "#endif", ""]
        third = placed.tensors[layer.third] if layer.third else placed.scratch[op.output]
        places = [placed.tensors[layer.source], placed.tensors[op.output], third]
        arguments = ", ".join([*(f"model_arena + {place}" for place in places), f"{symbol}_stream"])
        calls += ["#ifdef TRIPTYCH_THUMB", f"    {name}({arguments});", "#else", call, "#endif"]
    return "\n".join(
        [
            '#include "model.h"',
            '#include "kernels/kernels.h"',
            "",
            *constants,
            "int8_t model_arena[MODEL_ARENA_SIZE];",
            "",
            f"int8_t *model_input(void) {{ return model_arena + {placed.tensors[graph.input]}; }}",
            f"const int8_t *model_output(void) {{ return model_arena + {placed.tensors[graph.output]}; }}",
            "",
            "void model_init(void)",
            "{",
            "    for (int32_t i = 0; i < MODEL_INPUT_SIZE; i++)",
            "        model_input()[i] = MODEL_INPUT_ZERO_POINT;",
            "}",
            "",
            "void model_run(void)",
            "{",
            *calls,
            "}",
            "",
        ]
    )


def kernel_of(op: Op) -> str:
    """Name of the C kernel of `op`."""
    return "conv2d_int4" if isinstance(op, ops.Conv2D) and op.weight_bits == int4.BITS else KERNELS[type(op)]


def computes(op: Op, places: Mapping[str, int]) -> bool:
    """Whether `op` needs code: a reshape in place does not."""
    return not isinstance(op, ops.Reshape) or places[op.input] != places[op.output]


def _call(op: Op, placed: Plan, symbol: str) -> str:
    """The call of the C kernel."""
    places = [placed.tensors[name] for name in (*inputs_of(op), op.output)]
    places += (
        [placed.scratch[op.output]] if op.output in placed.scratch and not isinstance(op, ops.Conv2D) else []
    )
    arguments = ", ".join([f"&{symbol}", *(f"model_arena + {place}" for place in places)])
    return f"    triptych_{kernel_of(op)}({arguments});"


def _constants(graph: Graph, op: Op, symbol: str, rounding: Rounding, *, backwards: bool) -> list[str]:
    """Declarations of the arrays and the parameter block of one operator."""
    arrays: Arrays = {}
    if isinstance(op, Weighted):
        fields = weighted_fields(graph, op, symbol, arrays, rounding)
    else:
        fields = unweighted_fields(graph, op, symbol, arrays, rounding)
    if isinstance(op, ops.Conv2D):
        fields["backwards"] = int(backwards)
    lines = [_array(f"{symbol}_{name}", values) for name, values in arrays.items()]
    block = f"static const triptych_{KERNELS[type(op)]}_op {symbol} = {_initialiser(fields)};"
    return [*lines, block]


def _array(name: str, values: NDArray[np.integer] | NDArray[np.float32]) -> str:
    real = values.dtype == np.float32
    kind = "float" if real else {1: "int8_t", 4: "int32_t"}[values.dtype.itemsize]
    numbers = [f"{float(n).hex()}f" if real else str(n) for n in values.ravel().tolist()]
    per_line = 24 if kind == "int8_t" else 8
    lines = [
        "    " + ", ".join(numbers[start : start + per_line]) + ","
        for start in range(0, len(numbers), per_line)
    ]
    return "\n".join([f"static const {kind} {name}[{len(numbers)}] = {{", *lines, "};"])


def _initialiser(value: Value, indent: str = "") -> str:
    if isinstance(value, Mapping):
        inner = indent + "    "
        fields = (f"{inner}.{name} = {_initialiser(field, inner)}," for name, field in value.items())
        return "\n".join(["{", *fields, f"{indent}}}"])
    if isinstance(value, float):
        return f"{value.hex()}f"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "{" + ", ".join(map(str, value)) + "}"
    return str(value)
