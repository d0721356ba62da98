# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""What the engine runs of a network: the part between its int8 edges.

A QUANTIZE at the input and a DEQUANTIZE at the output convert between float (or
uint8) and int8: the application does so with the scales in `model.h`. A softmax
in float, after DEQUANTIZE, is the application's too.
"""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from triptych.graph.tflite.tables import CODE, IDENTIFIER, Node, code_of


def int8_part(content: bytes) -> bytes:
    """The `.tflite` file `content`, which is valid, without the operators at its edges."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if not cut_edges(model):
        return content
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def cut_edges(model: Node) -> bool:
    """Remove the operators at the edges of `model`, a parsed file; whether there were any."""
    main = model.subgraphs[0]
    before = len(main.operators)
    while len(main.operators) and _enters(model, main.operators[0]):
        first = main.operators[0]
        main.inputs = [first.outputs[0] if index == first.inputs[0] else index for index in main.inputs]
        main.operators = main.operators[1:]
    while len(main.operators) and _leaves(model, main.operators[-1]):
        last = main.operators[-1]
        if list(main.outputs) != list(last.outputs):
            break
        main.outputs, main.operators = [last.inputs[0]], main.operators[:-1]
    return len(main.operators) < before


def _enters(model: Node, operator: Node) -> bool:
    """Whether an operator makes int8 of what the application has."""
    return code_of(model, operator) == CODE.QUANTIZE and _from_outside(model, int(operator.inputs[0]))


def _leaves(model: Node, operator: Node) -> bool:
    """Whether an operator makes of int8 what the application wants, or computes with that."""
    code = code_of(model, operator)
    if code == CODE.QUANTIZE:
        return _type(model, int(operator.outputs[0])) == schema.TensorType.UINT8
    float_softmax = (
        code == CODE.SOFTMAX and _type(model, int(operator.inputs[0])) == schema.TensorType.FLOAT32
    )
    return code == CODE.DEQUANTIZE or float_softmax


def _from_outside(model: Node, index: int) -> bool:
    return _type(model, index) in (schema.TensorType.FLOAT32, schema.TensorType.UINT8)


def _type(model: Node, index: int) -> int:
    return model.subgraphs[0].tensors[index].type
