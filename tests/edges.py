"""The example network between operators that are the application's."""

from copy import deepcopy
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from networks import example_graph

from triptych.graph.tflite import write_tflite

CODE, POOL = schema.BuiltinOperator, 5  # the example network's pooling operator


def example() -> Any:
    return schema.ModelT.InitFromPackedBuf(write_tflite(example_graph()), 0)


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator(model: Any, code: int, inputs: list[int], output: int, options: str = "") -> Any:
    kind, made = schema.OperatorCodeT(), schema.OperatorT()
    kind.builtinCode = kind.deprecatedBuiltinCode = code
    kind.version = 2
    model.operatorCodes.append(kind)
    made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes) - 1, inputs, [output]
    if options:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        made.builtinOptions = getattr(schema, f"{options}T")()
    return made


def tensor(model: Any, like: int, name: str, **fields: Any) -> int:
    made = deepcopy(model.subgraphs[0].tensors[like])
    made.name = name
    vars(made).update(fields)
    model.subgraphs[0].tensors.append(made)
    return len(model.subgraphs[0].tensors) - 1


def with_edges() -> bytes:
    """The example network between floats, as a converter writes it by default, with a softmax."""
    model = example()
    main = model.subgraphs[0]
    source, logits = int(main.inputs[0]), int(main.outputs[0])
    real = {"type": schema.TensorType.FLOAT32, "quantization": schema.QuantizationParametersT()}
    real_input, real_output = (tensor(model, at, f"real {at}", **real) for at in (source, logits))
    chances = tensor(model, logits, "chances")
    main.tensors[chances].quantization.scale = [1 / 256]
    main.tensors[chances].quantization.zeroPoint = [-128]
    softmax = operator(model, CODE.SOFTMAX, [logits], chances, "SoftmaxOptions")
    softmax.builtinOptions.beta = 1.0
    main.operators = [
        operator(model, CODE.QUANTIZE, [real_input], source),
        *main.operators,
        softmax,
        operator(model, CODE.DEQUANTIZE, [chances], real_output),
    ]
    main.inputs, main.outputs = [real_input], [real_output]
    return packed(model)
