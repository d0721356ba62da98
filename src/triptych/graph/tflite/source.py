# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""The tensors of a parsed `.tflite` file: names, grids, constants; errors name operator and tensor."""

import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from triptych.errors import DataError, UnsupportedError
from triptych.graph import int4
from triptych.graph.ops import Quantization, Tensor
from triptych.graph.tflite.parse import Budget
from triptych.graph.tflite.tables import CODE, Node, code_of

MAX_ELEMENTS = 2**31 - 1  # the generated C counts in int32
SCALES = 2.0**-100, 2.0**100  # beyond, float32 arithmetic of scales leaves its range
Axes = tuple[int, ...]


class Source:
    """Tensors by their index; `names` changes as operators that move nothing are left out."""

    def __init__(self, model: Node, budget: Budget) -> None:
        self.model, self.main, self.budget = model, model.subgraphs[0], budget
        self.names = _unique_names(self.main.tensors)
        self.layouts: dict[int, Axes] = {}  # of tensors that are not NHWC
        self.readers: dict[int, list[Node]] = {}  # operators by the tensor that they read
        for operator in self.main.operators:
            for index in self.inputs(operator):
                self.readers.setdefault(index, []).append(operator)

    def code(self, operator: Node) -> int:
        """What the operator is."""
        return code_of(self.model, operator)

    def inputs(self, operator: Node) -> list[int]:
        """Indices of the tensors that an operator reads, checked; -1 stands for an optional one."""
        for index in (*operator.inputs, *operator.outputs):
            if not -1 <= index < len(self.names):
                raise DataError(f"an operator refers to tensor {index} of {len(self.names)}")
        if not len(operator.inputs) or len(operator.outputs) != 1:
            raise UnsupportedError(
                f"an operator has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs; "
                "at least one and exactly one are implemented"
            )
        return [int(index) for index in operator.inputs]

    def input(self, operator: Node, position: int) -> int:
        """The tensor that an operator reads at `position`, which it must have."""
        if position >= len(operator.inputs) or operator.inputs[position] < 0:
            raise DataError(f"the operator that writes {self.names[operator.outputs[0]]!r} lacks an input")
        return int(operator.inputs[position])

    def activations(self, operator: Node, code: int) -> list[int]:
        """The tensors that an operator reads besides its parameters."""
        return [self.input(operator, position) for position in range(2 if code == CODE.ADD else 1)]

    def shape(self, index: int) -> tuple[int, ...]:
        """The declared shape."""
        shape = tuple(int(size) for size in self.main.tensors[index].shape)
        if not 0 < math.prod(shape) <= MAX_ELEMENTS or min(shape, default=1) < 1:
            raise DataError(
                f"tensor {self.names[index]!r} has shape {list(shape)}; sizes from 1 and at most "
                f"{MAX_ELEMENTS} elements are possible"
            )
        return shape

    def activation(self, index: int, name: str) -> Tensor:
        """Tensor `index`, which operator `name` reads or writes: dense, quantized int8."""
        tensor = self.main.tensors[index]
        quantization = tensor.quantization
        if tensor.type != schema.TensorType.INT8 or quantization is None or not len(quantization.scale):
            raise UnsupportedError(
                f"tensor {self.names[index]!r} of {name!r} is {type_name(tensor.type)}; only quantized int8 "
                "is implemented: convert with int8 input and output"
            )
        if tensor.isVariable:
            raise UnsupportedError(f"tensor {self.names[index]!r} of {name!r} keeps state between runs")
        scale, zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
        in_range = SCALES[0] < scale < SCALES[1] and -128 <= zero_point <= 127
        if len(quantization.scale) != 1 or len(quantization.zeroPoint) != 1 or not in_range:
            raise DataError(f"tensor {self.names[index]!r} has scale {scale} and zero point {zero_point}")
        return Tensor(self.names[index], self.shape(index), Quantization(scale, zero_point))

    def constant(self, index: int, dtype: type, name: str) -> NDArray[Any]:
        """Data of a constant tensor that operator `name` reads; a view of the file."""
        kind = {np.int8: schema.TensorType.INT8, np.int32: schema.TensorType.INT32}[dtype]
        data, shape = self._data(index, kind, dtype.__name__, name), self.shape(index)
        values = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
        if values.size != math.prod(shape):
            raise DataError(f"{self.names[index]!r} holds {values.size} values for shape {list(shape)}")
        return values.reshape(shape).astype(dtype, copy=False)

    def weight(self, index: int, name: str) -> tuple[NDArray[np.int8], int]:
        """The weights of operator `name`, of 8 or 4 bits, and which; of 4 bits they are a copy."""
        if index < 0 or self.main.tensors[index].type != schema.TensorType.INT4:
            return self.constant(index, np.int8, name), 8
        data, shape = self._data(index, schema.TensorType.INT4, "int4", name), self.shape(index)
        count = math.prod(shape)
        if len(data) != int4.packed_size(count):
            raise DataError(
                f"{self.names[index]!r} holds {len(data)} bytes for shape {list(shape)} of int4, which takes "
                f"{int4.packed_size(count)}"
            )
        self.budget.take(count)
        return int4.unpack(np.frombuffer(data, np.uint8), count).reshape(shape), 4

    def _data(self, index: int, kind: int, wanted: str, name: str) -> NDArray[np.uint8]:
        """The bytes of a constant tensor of type `kind`, paid for."""
        if index < 0:
            raise UnsupportedError(f"operator {name!r} lacks an input")
        tensor = self.main.tensors[index]
        if tensor.sparsity is not None or tensor.externalBuffer:
            raise UnsupportedError(f"operator {name!r}: {self.names[index]!r} is sparse or in another file")
        data = self.model.buffers[tensor.buffer].data
        if tensor.type != kind or data is None:
            raise UnsupportedError(
                f"operator {name!r}: {self.names[index]!r} must be a constant of {wanted}, "
                f"but is {type_name(tensor.type)}{' without data' if data is None else ''}"
            )
        self.budget.take(len(data))
        return data

    def integers(self, operator: Node, position: int, name: str) -> list[int]:
        """A constant input that is a parameter: axes, a shape, a size, amounts of padding."""
        index = int(operator.inputs[position]) if position < len(operator.inputs) else -1
        return [int(value) for value in self.constant(index, np.int32, name).ravel()]

    def layout(self, index: int) -> Axes:
        """For each axis of a tensor the axis of the NHWC image that it is."""
        return self.layouts.get(index, (0, 1, 2, 3)[: len(self.shape(index))])

    def require_plain(self, index: int, name: str) -> None:
        """Refuse what was transposed where it is read as it stands."""
        if index not in self.layouts:
            return
        moved = [axis for axis, size in zip(self.layouts[index], self.shape(index), strict=True) if size != 1]
        if moved != sorted(moved):
            raise UnsupportedError(f"{name!r} needs a transposed tensor; only a mean takes it")


def type_name(kind: int) -> str:
    """The schema's name of a tensor type."""
    return {v: k for k, v in vars(schema.TensorType).items()}.get(kind, str(kind))


def _unique_names(tensors: list[Node]) -> list[str]:
    """Names of the tensors; a name that is empty or taken gets the tensor's number."""
    seen: dict[str, None] = {}
    for index, tensor in enumerate(tensors):
        name = (tensor.name or b"").decode(errors="replace")
        while not name or name in seen:
            name = f"{name}#{index}"
        seen[name] = None
    return list(seen)
