# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""From the content of a `.tflite` file to a network, or to an error that says what is missing."""

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from triptych.errors import DataError, UnsupportedError
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
    Padding,
    Pool,
    Quantization,
    Tensor,
)
from triptych.graph.tflite.edges import code_of, cut_edges
from triptych.graph.tflite.tables import ACTIVATION, CODE, CODES, IDENTIFIER, PADDING, Node
from triptych.graph.validate import validate

K = TypeVar("K", bound=str)
Axes = tuple[int, ...]
PADDED = (CODE.CONV_2D, CODE.DEPTHWISE_CONV_2D)  # what may read the output of a PAD
# what offsets and indices that point nowhere raise inside the generated parser and here
MALFORMED = (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)


def read_tflite(content: bytes) -> Graph:
    """The network in the content of a `.tflite` file.

    Raises DataError where it is not a valid file, UnsupportedError that names
    operator and tensor where it is more than the engine implements.
    """
    if content[4:8] != IDENTIFIER:
        raise DataError(f"not a .tflite file: bytes 4 to 7 are {content[4:8]!r}, expected {IDENTIFIER!r}")
    try:
        graph = _Reader(schema.ModelT.InitFromPackedBuf(content, 0)).graph()
    except MALFORMED as error:
        raise DataError(f"a corrupt .tflite file ({error}); write it again") from error
    return validate(graph)


def read_tflite_file(path: Path) -> Graph:
    """The network in a `.tflite` file; errors name the file."""
    try:
        return read_tflite(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro` to make it") from error
    except (DataError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error}") from error


class _Reader:
    def __init__(self, model: Node) -> None:
        if len(model.subgraphs or []) != 1:
            raise UnsupportedError(f"{len(model.subgraphs or [])} subgraphs; the engine runs exactly one")
        cut_edges(model)
        self.model = model
        self.main = model.subgraphs[0]
        seen: dict[str, int] = {}
        for index, tensor in enumerate(self.main.tensors):
            name = (tensor.name or b"").decode(errors="replace")
            seen.setdefault(name if name and name not in seen else f"{name}#{index}", index)
        self.names = list(seen)
        self.pads: dict[int, Padding] = {}  # tensors that a PAD writes
        self.layouts: dict[int, Axes] = {}  # tensors that are not NHWC

    def graph(self) -> Graph:
        for way in ("inputs", "outputs"):
            if len(getattr(self.main, way)) != 1:
                raise UnsupportedError(
                    f"{len(getattr(self.main, way))} {way}; the engine runs networks with one"
                )
        source, output = int(self.main.inputs[0]), int(self.main.outputs[0])
        tensors = {self.names[source]: self.activation(source, "the network")}
        ops: list[Op] = []
        moves = {CODE.RESHAPE: self.flatten, CODE.PAD: self.pad, CODE.TRANSPOSE: self.transpose}
        for operator in self.main.operators:
            code = self.code(operator)
            if code in moves:
                moves[code](operator)
                continue
            ops.append(self.operator(operator))
            tensor = self.activation(int(operator.outputs[0]), ops[-1].name)
            if isinstance(ops[-1], Mean):
                tensor = replace(tensor, shape=_averaged(tensors[ops[-1].input], ops[-1].axes))
            tensors[ops[-1].output] = tensor
        self.require_plain(output, "the network's output")
        return Graph(self.names[source], self.names[output], tensors, tuple(ops))

    def code(self, operator: Node) -> int:
        for index in (*operator.inputs[:2], *operator.outputs):
            if not 0 <= index < len(self.names):
                raise DataError(f"an operator refers to tensor {index} of {len(self.names)}")
        return code_of(self.model, operator)

    def flatten(self, operator: Node) -> None:
        """A reshape to [1, n] moves no byte: its output is another name of its input."""
        source, output = (int(indices[0]) for indices in (operator.inputs, operator.outputs))
        self.require_plain(source, self.names[output])
        shape = self.activation(output, self.names[output]).shape
        if shape != (1, self.activation(source, self.names[output]).size):
            raise UnsupportedError(
                f"operator {self.names[output]!r} reshapes to {list(shape)}; "
                "only flattening to [1, n] is implemented"
            )
        self.names[output] = self.names[source]

    def pad(self, operator: Node) -> None:
        """Padding becomes part of the convolution that reads it."""
        source, output = (int(indices[0]) for indices in (operator.inputs, operator.outputs))
        name = self.names[output]
        self.require_plain(source, name)
        amounts = self.constant(int(operator.inputs[1]), np.int32, name)[0].tolist()
        before, after = self.activation(source, name), self.activation(output, name)
        if amounts[0] != [0, 0] or amounts[3:] != [[0, 0]] or before.quantization != after.quantization:
            raise UnsupportedError(
                f"operator {name!r} pads {amounts} from {before.quantization} to {after.quantization}; "
                "rows and columns of an image, in one quantization, are implemented"
            )
        if min(map(min, amounts)) < 0:
            raise DataError(f"operator {name!r} pads by {amounts}, less than nothing")
        self.pads[output] = (tuple(amounts[1]), tuple(amounts[2]))
        self.names[output] = self.names[source]

    def transpose(self, operator: Node) -> None:
        """Another order of the axes moves no byte where a mean follows, which names its axes."""
        source, output = (int(indices[0]) for indices in (operator.inputs, operator.outputs))
        layout = self.layout(source, self.names[output])
        order = self.constant(int(operator.inputs[1]), np.int32, self.names[output])[0].tolist()
        if sorted(order) != list(range(len(layout))):
            raise DataError(f"operator {self.names[output]!r} transposes {order}, not the axes of its input")
        self.layouts[output] = tuple(layout[axis] for axis in order)
        self.names[output] = self.names[source]

    def layout(self, index: int, name: str) -> Axes:
        """For each axis of a tensor the axis of the NHWC image that it is."""
        if index in self.pads:
            raise UnsupportedError(f"operator {name!r} reads a padded tensor; only VALID convolutions do")
        return self.layouts.get(index, (0, 1, 2, 3)[: len(self.main.tensors[index].shape)])

    def require_plain(self, index: int, name: str) -> None:
        """Refuse what was padded or transposed where it is read as it stands."""
        shape = self.main.tensors[index].shape
        moved = [axis for axis, size in zip(self.layout(index, name), shape, strict=True) if size != 1]
        if moved != sorted(moved):
            raise UnsupportedError(f"{name!r} needs a transposed tensor; only a mean takes it")

    def operator(self, operator: Node) -> Op:
        code = self.code(operator)
        name = self.names[operator.outputs[0]]
        if code not in READERS:
            kind = {v: k for k, v in vars(CODE).items()}.get(code, code)
            known = ", ".join(sorted({kind.__name__ for kind in CODES}))
            raise UnsupportedError(f"operator {kind} (writes {name!r}) is not implemented; known: {known}")
        options = operator.builtinOptions
        common: dict[str, Any] = {"name": name, "input": self.names[operator.inputs[0]], "output": name}
        if code == CODE.MEAN:
            return _read_mean(self, operator, options, common)
        for index in operator.inputs[: 2 if code == CODE.ADD else 1]:
            if index not in self.pads or code not in PADDED:
                self.require_plain(int(index), name)
        common["activation"] = _key(ACTIVATION, options.fusedActivationFunction, name, "activation")
        return READERS[code](self, operator, options, common)

    def window(self, options: Node, name: str) -> dict[str, Any]:
        dilation = (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1))
        if dilation != (1, 1):
            raise UnsupportedError(f"operator {name!r} has dilation {dilation}; only 1 is implemented")
        padding = _key(PADDING, options.padding, name, "padding")
        return {"padding": padding, "stride": (options.strideH, options.strideW)}

    def weights(self, operator: Node, name: str, axis: int, rank: int) -> dict[str, Any]:
        weight, zero = self.constant(int(operator.inputs[1]), np.int8, name)
        scale = self.main.tensors[operator.inputs[1]].quantization
        if len(weight.shape) != rank or zero.any():
            raise UnsupportedError(
                f"operator {name!r} has weights of shape {list(weight.shape)} with zero points "
                f"{sorted(set(zero.tolist()))}; rank {rank} and symmetric weights are implemented"
            )
        if len(scale.scale) > 1 and scale.quantizedDimension != axis:
            raise UnsupportedError(
                f"operator {name!r} quantizes axis {scale.quantizedDimension} of its weights; "
                f"axis {axis} is implemented"
            )
        channels = weight.shape[axis]
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        zeros = np.zeros(channels, np.int32)
        bias = self.constant(int(operator.inputs[2]), np.int32, name)[0] if has_bias else zeros
        scales = np.asarray(scale.scale, np.float32)
        if rank == 4 and len(scales) == 1:
            scales = np.repeat(scales, channels)
        return {"weight": weight, "bias": bias, "weight_scale": scales}

    def constant(self, index: int, dtype: type, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Data and zero points of a constant tensor."""
        tensor = self.main.tensors[index]
        kind = {np.int8: schema.TensorType.INT8, np.int32: schema.TensorType.INT32}[dtype]
        data = self.model.buffers[tensor.buffer].data
        if tensor.type != kind or data is None:
            raise UnsupportedError(
                f"operator {name!r}: {self.names[index]!r} must be a constant of {dtype.__name__}, "
                f"but is {_type_name(tensor.type)}{' without data' if data is None else ''}"
            )
        values = np.frombuffer(bytes(data), np.dtype(dtype).newbyteorder("<"))
        shape = tuple(int(size) for size in tensor.shape)
        if values.size != np.prod(shape):
            raise DataError(f"{self.names[index]!r} holds {values.size} values for shape {list(shape)}")
        quantization = tensor.quantization
        zero = np.asarray(
            [] if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint
        )
        return values.reshape(shape).astype(dtype), zero

    def activation(self, index: int, name: str) -> Tensor:
        tensor = self.main.tensors[index]
        quantization = tensor.quantization
        if tensor.type != schema.TensorType.INT8 or quantization is None or quantization.scale is None:
            raise UnsupportedError(
                f"tensor {self.names[index]!r} of {name!r} is {_type_name(tensor.type)}; only quantized int8 "
                "is implemented: convert with int8 input and output"
            )
        scale, zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
        if len(quantization.scale) != 1 or not 0 < scale < np.inf or not -128 <= zero_point <= 127:
            raise DataError(f"tensor {self.names[index]!r} has scale {scale} and zero point {zero_point}")
        shape = tuple(int(size) for size in tensor.shape)
        return Tensor(self.names[index], shape, Quantization(scale, zero_point))


def _key(table: dict[K, int], value: int, name: str, what: str) -> K:
    for key, number in table.items():
        if number == value:
            return key
    raise UnsupportedError(f"operator {name!r} has {what} {value}; implemented: {', '.join(table)}")


def _type_name(kind: int) -> str:
    return {v: k for k, v in vars(schema.TensorType).items()}.get(kind, str(kind))


Read = Callable[[_Reader, Node, Node, dict[str, Any]], Op]


def _read_convolution(
    kind: type[Conv2D | DepthwiseConv2D],
    axis: int,
    reader: _Reader,
    operator: Node,
    options: Node,
    common: dict[str, Any],
) -> Op:
    window = reader.window(options, common["name"])
    if (padding := reader.pads.get(int(operator.inputs[0]))) is not None:
        if window["padding"] != "valid":
            raise UnsupportedError(f"operator {common['name']!r} pads a padded tensor; VALID is implemented")
        window["padding"] = padding
    op = kind(**common, **window, **reader.weights(operator, common["name"], axis, 4))
    if isinstance(op, DepthwiseConv2D) and options.depthMultiplier > 1:
        raise UnsupportedError(
            f"operator {op.name!r} has depth multiplier {options.depthMultiplier}; only 1 is implemented"
        )
    return op


def _read_fully_connected(reader: _Reader, operator: Node, options: Node, common: dict[str, Any]) -> Op:
    if options.weightsFormat != 0 or options.keepNumDims:
        raise UnsupportedError(
            f"operator {common['name']!r} has weights format {options.weightsFormat} and keep_num_dims "
            f"{options.keepNumDims}; only the defaults are implemented"
        )
    return FullyConnected(**common, **reader.weights(operator, common["name"], 0, 2))


def _read_add(reader: _Reader, operator: Node, options: Node, common: dict[str, Any]) -> Op:
    return Add(**common, other=reader.names[operator.inputs[1]])


def _read_pool(
    kind: type[Pool], reader: _Reader, operator: Node, options: Node, common: dict[str, Any]
) -> Op:
    window = (options.filterHeight, options.filterWidth)
    source, output = (int(indices[0]) for indices in (operator.inputs, operator.outputs))
    grids = [reader.activation(index, common["name"]).quantization for index in (source, output)]
    if grids[0] != grids[1]:
        raise UnsupportedError(f"operator {common['name']!r} pools from {grids[0]} to {grids[1]}")
    return kind(**common, **reader.window(options, common["name"]), window=window)


def _read_mean(reader: _Reader, operator: Node, options: Node, common: dict[str, Any]) -> Op:
    name, source, output = common["name"], int(operator.inputs[0]), int(operator.outputs[0])
    layout = reader.layout(source, name)
    axes = [int(axis) for axis in reader.constant(int(operator.inputs[1]), np.int32, name)[0].ravel()]
    averaged = {layout[axis] for axis in axes}
    if not averaged or not averaged <= {1, 2}:
        raise UnsupportedError(f"operator {name!r} averages axes {axes}; rows and columns are implemented")
    if not options.keepDims:
        layout = tuple(axis for axis in layout if axis not in averaged)
    reader.layouts[output] = layout
    return Mean(**common, axes=tuple(sorted(averaged)))


def _averaged(source: Tensor, axes: Axes) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(source.shape))


READERS: dict[int, Read] = {
    CODE.CONV_2D: partial(_read_convolution, Conv2D, 0),
    CODE.DEPTHWISE_CONV_2D: partial(_read_convolution, DepthwiseConv2D, 3),
    CODE.FULLY_CONNECTED: _read_fully_connected,
    CODE.ADD: _read_add,
    CODE.AVERAGE_POOL_2D: partial(_read_pool, AveragePool2D),
    CODE.MAX_POOL_2D: partial(_read_pool, MaxPool2D),
    CODE.MEAN: _read_mean,
}
