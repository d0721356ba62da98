# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""From a network to the content of a `.tflite` file."""

from dataclasses import replace

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from triptych.graph import int4
from triptych.graph.ops import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    Mean,
    Op,
    Pad,
    Pool,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
    Tensor,
    Weighted,
    inputs_of,
)
from triptych.graph.tflite.tables import (
    ACTIVATION,
    CODES,
    IDENTIFIER,
    INT4_VERSION,
    OPTIONS,
    PADDING,
    PADV2,
    Node,
)

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
        self.codes: list[tuple[int, int]] = []  # code and version
        self.index: dict[str, int] = {}

    def content(self) -> bytes:
        self.index = {name: self.activation(tensor) for name, tensor in self.graph.tensors.items()}
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.operators = [operator for op in self.graph.ops for operator in self.operators(op)]
        subgraph.tensors = self.tensors
        subgraph.inputs, subgraph.outputs = [self.index[self.graph.input]], [self.index[self.graph.output]]
        model = schema.ModelT()
        model.version, model.description = 3, "triptych"
        model.operatorCodes = [_code(*code) for code in self.codes]
        model.subgraphs, model.buffers = [subgraph], self.buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def operators(self, op: Op) -> list[Node]:
        """The operator, after a PAD where its padding is neither SAME nor VALID."""
        inputs = [self.index[name] for name in inputs_of(op)]
        before = []
        if isinstance(op, Conv2D | DepthwiseConv2D) and isinstance(op.padding, tuple):
            before = [self.pad(op, inputs[0])]
            inputs[0] = before[0].outputs[0]
        if isinstance(op, Weighted):
            inputs += self.constants(op)
        inputs += self.parameters(op)
        code, version, kind = _code_of(op)
        operator = self.operator((code, version), inputs, self.index[op.output])
        operator.builtinOptionsType, operator.builtinOptions = kind, _options(op, kind)
        return [*before, operator]

    def parameters(self, op: Op) -> list[int]:
        """Constant tensors that the format has where the graph has fields."""
        match op:
            case Mean():
                return [self.integers(f"{op.name}/axes", np.array(op.axes, np.int32))]
            case ResizeNearest():
                return [self.integers(f"{op.name}/size", np.array(op.size, np.int32))]
            case Reshape():
                return [self.integers(f"{op.name}/shape", np.array(op.shape, np.int32))]
            case Pad():
                amounts = self.integers(f"{op.name}/padding", np.array([(0, 0), *op.amounts], np.int32))
                return [amounts] if op.value is None else [amounts, self.pad_value(op, op.value)]
            case _:
                return []

    def pad_value(self, op: Pad, value: int) -> int:
        grid = self.graph[op.output].quantization
        assert grid, f"{op.output} is not quantized"
        quantization = _quantization(np.array([grid.scale], np.float32), grid.zero_point)
        data = np.array([value], np.int8)
        return self.tensor(f"{op.name}/value", (1,), schema.TensorType.INT8, quantization, data)

    def operator(self, code: tuple[int, int], inputs: list[int], output: int) -> Node:
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, [output]
        return operator

    def pad(self, op: Conv2D | DepthwiseConv2D, source: int) -> Node:
        tensor = self.graph[op.input]
        amounts = np.array([(0, 0), *op.padding, (0, 0)], np.int32)
        shape = tuple(size + sum(pair) for size, pair in zip(tensor.shape, amounts.tolist(), strict=True))
        padded = self.activation(replace(tensor, name=f"{op.name}/padded", shape=shape))
        code, version, kind = CODES[Pad]
        inputs = [source, self.integers(f"{op.name}/padding", amounts)]
        operator = self.operator((code, version), inputs, padded)
        operator.builtinOptionsType, operator.builtinOptions = kind, schema.PadOptionsT()
        return operator

    def integers(self, name: str, values: NDArray[np.int32]) -> int:
        """A constant that is not quantized: axes or amounts of padding."""
        return self.tensor(name, values.shape, schema.TensorType.INT32, None, values)

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
        packed = op.weight_bits == int4.BITS
        kind, data = schema.TensorType.INT8, op.weight
        if packed:
            kind, data = schema.TensorType.INT4, int4.pack(op.weight.astype(np.int8))
        return [
            self.tensor(f"{op.name}/weight", op.weight.shape, kind, weight, data),
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


def _code_of(op: Op) -> tuple[int, int, int]:
    """Code, version and kind of options of an operator."""
    if isinstance(op, Pad) and op.value is not None:
        return PADV2
    code, version, kind = CODES[type(op)]
    if isinstance(op, Weighted) and op.weight_bits == int4.BITS:
        version = INT4_VERSION[type(op)]
    return code, version, kind


def _code(number: int, version: int) -> Node:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = version
    return code


def _quantization(scale: NDArray[np.float32], zero_point: int, axis: int = 0) -> Node:
    quantization = schema.QuantizationParametersT()
    quantization.scale = [float(value) for value in scale]
    quantization.zeroPoint = [zero_point] * len(quantization.scale)
    quantization.quantizedDimension = axis
    return quantization


def _options(op: Op, kind: int) -> Node:
    options = getattr(schema, {v: k for k, v in vars(OPTIONS).items()}[kind] + "T")()
    match op:
        case Mean():
            options.keepDims = True
        case Softmax():
            options.beta = op.beta
        case ResizeNearest():
            options.alignCorners, options.halfPixelCenters = op.align_corners, op.half_pixel_centers
        case Reshape():
            options.newShape = list(op.shape)
        case Pad() | Requantize():
            pass
        case _:
            _fill_window(options, op)
    return options


def _fill_window(options: Node, op: Weighted | Pool | Add) -> None:
    options.fusedActivationFunction = ACTIVATION[op.activation]
    if isinstance(op, Conv2D | DepthwiseConv2D | Pool):
        options.padding = PADDING["valid" if isinstance(op.padding, tuple) else op.padding]
        options.strideH, options.strideW = op.stride
    if isinstance(op, DepthwiseConv2D):
        options.depthMultiplier = 1
    if isinstance(op, FullyConnected):
        options.keepNumDims = op.keep_dims
    if isinstance(op, Pool):
        options.filterHeight, options.filterWidth = op.window
