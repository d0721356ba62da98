"""From an integer network to C: constants, one arena, and one kernel call for each operator.

The kernels are files of this package; the generated `model.c` holds data and
calls alone, at the offsets that `graph/memory.py` planned.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from triptych.engine.header import comment, model_header
from triptych.engine.integer import (
    add_constants,
    clamp_range,
    mean_constants,
    quantization_of,
    requantization,
)
from triptych.engine.thumb.layers import Kernel, Program, layer_of
from triptych.engine.thumb.schedule import schedule
from triptych.engine.unweighted import Arrays, unweighted_fields
from triptych.graph import int4
from triptych.graph.memory import Plan, plan
from triptych.graph.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Pool,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
    Weighted,
    inputs_of,
    paddings_of,
)
from triptych.quantization.requantize import Rounding

FLASH = 1 << 20  # bytes, where no board says otherwise
CONV2D_BLOCK = 2  # TRIPTYCH_CONV2D_BLOCK of kernels.h
Value = int | str | tuple[int, ...] | Mapping[str, "Value"]  # of a C initialiser
Scheduler = Callable[..., dict[str, Kernel]]  # as `schedule`
KERNELS: dict[type[Op], str] = {
    Conv2D: "conv2d",
    DepthwiseConv2D: "depthwise_conv2d",
    FullyConnected: "fully_connected",
    Add: "add",
    AveragePool2D: "average_pool2d",
    MaxPool2D: "max_pool2d",
    Mean: "mean",
    Pad: "pad",
    ResizeNearest: "resize_nearest",
    Softmax: "softmax",
    Requantize: "rescale",
    Reshape: "copy",
}


def emit(
    graph: Graph, *, flash: int = FLASH, scheduler: Scheduler = schedule, rounding: Rounding = "tflite"
) -> dict[str, str]:
    """The sources of `graph` by file name: `model.c`, `model.h`, `model.S` and the C kernels.

    Generated code and its constants share `flash` bytes (`thumb/schedule.py`);
    another `scheduler` serves measurements. It rounds twice: `rounding="single"` is
    portable C alone.

    Raises UnsupportedError where an operator's arithmetic could overflow.
    """
    places = plan(graph).tensors
    kernels = {kernel_of(op) for op in graph.ops if computes(op, places)}
    names = ["dsp.h", "kernels.h", *(f"{kernel}.c" for kernel in sorted(kernels))]
    folder = files("triptych.engine") / "kernels"
    program = Program()
    chosen = scheduler(graph, plan(graph).backwards, flash=flash) if rounding == "tflite" else {}
    texts = {f"kernels/{name}": (folder / name).read_text() for name in names}
    if rounding == "single":
        texts["kernels/kernels.h"] = "#define TRIPTYCH_ROUND_ONCE\n" + texts["kernels/kernels.h"]
    return {
        "model.c": _model_source(graph, program, chosen),
        "model.S": program.text(),
        "model.h": model_header(graph),
        **texts,
    }


def _model_source(graph: Graph, program: Program, kernels: Mapping[str, Kernel]) -> str:
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
        declared, call = _constants(graph, op, symbol, backwards=backwards), _call(op, placed, symbol)
        if op.output not in kernels:
            constants += [title, *declared, ""]
            calls.append(call)
            continue
        layer = layer_of(graph, op, kernels[op.output])
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
    return "conv2d_int4" if isinstance(op, Conv2D) and op.weight_bits == int4.BITS else KERNELS[type(op)]


def computes(op: Op, places: Mapping[str, int]) -> bool:
    """Whether `op` needs code: a reshape in place does not."""
    return not isinstance(op, Reshape) or places[op.input] != places[op.output]


def _call(op: Op, placed: Plan, symbol: str) -> str:
    """The call of the C kernel."""
    places = [placed.tensors[name] for name in (*inputs_of(op), op.output)]
    places += (
        [placed.scratch[op.output]] if op.output in placed.scratch and not isinstance(op, Conv2D) else []
    )
    arguments = ", ".join([f"&{symbol}", *(f"model_arena + {place}" for place in places)])
    return f"    triptych_{kernel_of(op)}({arguments});"


def _constants(graph: Graph, op: Op, symbol: str, *, backwards: bool) -> list[str]:
    """Declarations of the arrays and the parameter block of one operator."""
    arrays: Arrays = {}
    match op:
        case Conv2D():
            fields = _conv2d(graph, op, symbol, arrays)
            fields["backwards"] = int(backwards)
        case DepthwiseConv2D():
            fields = _depthwise_conv2d(graph, op, symbol, arrays)
        case FullyConnected():
            fields = _fully_connected(graph, op, symbol, arrays)
        case Add():
            fields = _add(graph, op)
        case AveragePool2D() | MaxPool2D():
            fields = _pool2d(graph, op)
        case Mean():
            fields = _mean(graph, op)
        case Pad() | Requantize() | Reshape() | ResizeNearest() | Softmax():
            fields = unweighted_fields(graph, op, symbol, arrays)
    lines = [_array(f"{symbol}_{name}", values) for name, values in arrays.items()]
    block = f"static const triptych_{KERNELS[type(op)]}_op {symbol} = {_initialiser(fields)};"
    return [*lines, block]


def _conv2d(graph: Graph, op: Conv2D, symbol: str, arrays: Arrays) -> dict[str, Value]:
    out, _, _, channels = op.weight.shape
    blocked = _blocked(op.weight.astype(np.int8).reshape(out, -1, channels))
    arrays["weight"] = _dense(op) if op.weight_bits == int4.BITS else blocked
    padded = _is_padded(graph, op)
    if padded:
        arrays["padding"] = np.full(channels, quantization_of(graph, op.input).zero_point, np.int8)
    return {
        "window": _window(graph, op, op.weight.shape[1:3]),
        "output": _output(graph, op, symbol, arrays),
        "weight": f"{symbol}_weight",
        "padding": f"{symbol}_padding" if padded else 0,
        "input_channels": channels,
        "output_channels": out,
    }


def _depthwise_conv2d(graph: Graph, op: DepthwiseConv2D, symbol: str, arrays: Arrays) -> dict[str, Value]:
    arrays["weight"] = _dense(replace(op, weight=np.moveaxis(op.weight[0], 2, 0)))
    return {
        "window": _window(graph, op, op.weight.shape[1:3]),
        "output": _output(graph, op, symbol, arrays),
        "weight": f"{symbol}_weight",
        "channels": len(op.bias),
        "input_zero_point": quantization_of(graph, op.input).zero_point,
        "int4": int(op.weight_bits == int4.BITS),
    }


def _fully_connected(graph: Graph, op: FullyConnected, symbol: str, arrays: Arrays) -> dict[str, Value]:
    arrays["weight"] = _dense(op)
    return {
        "output": _output(graph, op, symbol, arrays),
        "weight": f"{symbol}_weight",
        "features": op.weight.shape[1],
        "outputs": op.weight.shape[0],
        "int4": int(op.weight_bits == int4.BITS),
    }


def _dense(op: Weighted) -> NDArray[np.int8]:
    """Weights one after the other, those of 4 bits two a byte."""
    weight = op.weight.astype(np.int8)
    return int4.pack(weight).view(np.int8) if op.weight_bits == int4.BITS else weight


def _add(graph: Graph, op: Add) -> dict[str, Value]:
    constants = add_constants(graph, op)
    output = quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)
    return {
        "size": graph[op.output].size,
        "zero_point": tuple(quantization_of(graph, name).zero_point for name in inputs_of(op)),
        "multiplier": constants.multiplier,
        "shift": constants.shift,
        "output_zero_point": output.zero_point,
        "output_multiplier": constants.output_multiplier,
        "output_shift": constants.output_shift,
        "low": low,
        "high": high,
    }


def _pool2d(graph: Graph, op: Pool) -> dict[str, Value]:
    low, high = clamp_range(op.activation, quantization_of(graph, op.output))
    window = _window(graph, op, op.window)
    return {"window": window, "channels": graph[op.input].shape[3], "low": low, "high": high}


def _mean(graph: Graph, op: Mean) -> dict[str, Value]:
    count, multiplier, shift = mean_constants(graph, op)
    _, height, width, channels = graph[op.input].shape
    low, high = clamp_range(op.activation, quantization_of(graph, op.output))
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "over_rows": int(1 in op.axes),
        "over_columns": int(2 in op.axes),
        "bias": -count * quantization_of(graph, op.input).zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": quantization_of(graph, op.output).zero_point,
        "low": low,
        "high": high,
    }


def _blocked(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """[out, taps, in] in the order of `kernels.h`: two output channels side by side, then the rest."""
    out, taps, channels = weight.shape
    whole, fours = out - out % CONV2D_BLOCK, channels - channels % 4
    blocks = weight[:whole].reshape(whole // CONV2D_BLOCK, CONV2D_BLOCK, taps, channels)
    runs = blocks[..., :fours].reshape(*blocks.shape[:3], fours // 4, 4).transpose(0, 2, 3, 1, 4)
    rest = blocks[..., fours:].transpose(0, 2, 3, 1)
    side_by_side = [
        part.reshape(len(blocks), taps, CONV2D_BLOCK * count)
        for part, count in ((runs, fours), (rest, channels - fours))
    ]
    return np.concatenate([np.concatenate(side_by_side, axis=2).ravel(), weight[whole:].ravel()])


def _is_padded(graph: Graph, op: Conv2D) -> bool:
    paddings = paddings_of(graph[op.input].shape[1:3], op.weight.shape[1:3], op.stride, op.padding)
    return paddings != ((0, 0), (0, 0))


def _window(graph: Graph, op: Conv2D | DepthwiseConv2D | Pool, kernel: tuple[int, ...]) -> dict[str, Value]:
    size = graph[op.input].shape[1:3]
    before = [pair[0] for pair in paddings_of(size, kernel, op.stride, op.padding)]
    names = ("input", "output", "kernel", "stride")
    pairs = zip(names, (size, graph[op.output].shape[1:3], kernel, op.stride), strict=True)
    fields: dict[str, Value] = {}
    for name, (height, width) in pairs:
        fields |= {f"{name}_height": height, f"{name}_width": width}
    return {**fields, "pad_top": before[0], "pad_left": before[1]}


def _output(graph: Graph, op: Weighted, symbol: str, arrays: Arrays) -> dict[str, Value]:
    factors = requantization(graph, op)
    output = quantization_of(graph, op.output)
    low, high = clamp_range(op.activation, output)
    arrays["bias"] = _folded_bias(graph, op)
    arrays["multiplier"] = factors.multiplier.astype(np.int32)
    arrays["shift"] = factors.shift.astype(np.int8)
    return {
        **{name: f"{symbol}_{name}" for name in ("bias", "multiplier", "shift")},
        "zero_point": output.zero_point,
        "low": low,
        "high": high,
    }


def _folded_bias(graph: Graph, op: Weighted) -> NDArray[np.int32]:
    """Bias with the input's zero point folded in, so that inner loops multiply raw bytes."""
    channel = 3 if isinstance(op, DepthwiseConv2D) else 0
    weight = np.moveaxis(op.weight.astype(np.int64), channel, 0).reshape(len(op.bias), -1)
    folded = op.bias.astype(np.int64) - quantization_of(graph, op.input).zero_point * weight.sum(axis=1)
    return folded.astype(np.int32)


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
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "{" + ", ".join(map(str, value)) + "}"
    return str(value)
