# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""From a network to the content of a `.tflite` file."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from triptych.graph.ops import (
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    Op,
    Tensor,
    Weighted,
    inputs_of,
)
from triptych.graph.tflite.tables import ACTIVATION, CODES, IDENTIFIER, OPTIONS, PADDING, Node

BUFFER_ALIGNMENT = 16  # what the schema demands of constant data


def write_tflite(graph: Graph) -> bytes:
    """The integer network `graph` as the content of a `.tflite` file; deterministic."""
    return _Writer(graph).content()


class _AlignedBuffer(schema.BufferT):
    """Constant data at a multiple of 16 bytes, which the Python packer forgets."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        super().__init__()
        self.data: Node = data

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802  # the schema's name
        builder.Prep(BUFFER_ALIGNMENT, len(self.data))
        return super().Pack(builder)


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[Node] = []
        self.buffers: list[Node] = [schema.BufferT()]  # number 0 means "no data"
        self.codes: list[type[Op]] = []
        self.index: dict[str, int] = {}

    def content(self) -> bytes:
        self.index = {name: self.activation(tensor) for name, tensor in self.graph.tensors.items()}
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.operators = [self.operator(op) for op in self.graph.ops]
        subgraph.tensors = self.tensors
        subgraph.inputs, subgraph.outputs = [self.index[self.graph.input]], [self.index[self.graph.output]]
        model = schema.ModelT()
        model.version, model.description = 3, "triptych"
        model.operatorCodes = [self.code(kind) for kind in self.codes]
        model.subgraphs, model.buffers = [subgraph], self.buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def code(self, kind: type[Op]) -> Node:
        code = schema.OperatorCodeT()
        code.builtinCode, code.version, _ = CODES[kind]
        code.deprecatedBuiltinCode = code.builtinCode
        return code

    def operator(self, op: Op) -> Node:
        if type(op) not in self.codes:
            self.codes.append(type(op))
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(type(op))
        operator.inputs = [self.index[name] for name in inputs_of(op)]
        if isinstance(op, Weighted):
            operator.inputs += self.constants(op)
        operator.outputs = [self.index[op.output]]
        operator.builtinOptionsType = CODES[type(op)][2]
        operator.builtinOptions = _options(op)
        return operator

    def activation(self, tensor: Tensor) -> int:
        assert tensor.quantization, f"{tensor.name} is not quantized"
        scale, zero_point = tensor.quantization.scale, tensor.quantization.zero_point
        return self.tensor(
            tensor.name,
            tensor.shape,
            schema.TensorType.INT8,
            _quantization(np.array([scale], np.float32), zero_point),
        )

    def constants(self, op: Weighted) -> list[int]:
        """Tensors of weight and bias; the bias's scale is the product of input's and weight's."""
        source = self.graph[op.input].quantization
        assert source, f"{op.input} is not quantized"
        assert op.weight_scale is not None, f"{op.name} is not quantized"
        axis = 3 if isinstance(op, DepthwiseConv2D) else 0
        weight = _quantization(op.weight_scale, 0, axis)
        bias = _quantization(np.float32(source.scale) * op.weight_scale, 0)
        return [
            self.tensor(f"{op.name}/weight", op.weight.shape, schema.TensorType.INT8, weight, op.weight),
            self.tensor(f"{op.name}/bias", op.bias.shape, schema.TensorType.INT32, bias, op.bias),
        ]

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        quantization: Node,
        data: NDArray[np.generic] | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.quantization = name, list(shape), kind, quantization
        tensor.hasRank = True
        if data is not None:
            self.buffers.append(_AlignedBuffer(np.frombuffer(data.tobytes(), np.uint8)))
            tensor.buffer = len(self.buffers) - 1
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _quantization(scale: NDArray[np.float32], zero_point: int, axis: int = 0) -> Node:
    quantization = schema.QuantizationParametersT()
    quantization.scale = [float(value) for value in scale]
    quantization.zeroPoint = [zero_point] * len(quantization.scale)
    quantization.quantizedDimension = axis
    return quantization


def _options(op: Op) -> Node:
    options = getattr(schema, {v: k for k, v in vars(OPTIONS).items()}[CODES[type(op)][2]] + "T")()
    options.fusedActivationFunction = ACTIVATION[op.activation]
    if isinstance(op, Conv2D | DepthwiseConv2D | AveragePool2D):
        options.padding = PADDING[op.padding]
        options.strideH, options.strideW = op.stride
    if isinstance(op, DepthwiseConv2D):
        options.depthMultiplier = 1
    if isinstance(op, AveragePool2D):
        options.filterHeight, options.filterWidth = op.window
    return options
