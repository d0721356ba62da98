# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""What the engine runs of a network: the part between its int8 edges.

A QUANTIZE at the input and a DEQUANTIZE at the output convert between float and
int8: the application does so with the scales in `model.h`. A SOFTMAX at the output
is left out too: it does not change the order of the classes, and the firmware
returns the logits.
"""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from triptych.graph.tflite.tables import CODE, IDENTIFIER, Node


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
    first = main.operators[0] if before else None
    if first is not None and code_of(model, first) == CODE.QUANTIZE and _is_float(main, int(first.inputs[0])):
        main.inputs = [first.outputs[0] if index == first.inputs[0] else index for index in main.inputs]
        main.operators = main.operators[1:]
    while main.operators and code_of(model, main.operators[-1]) in (CODE.DEQUANTIZE, CODE.SOFTMAX):
        last = main.operators[-1]
        if list(main.outputs) != list(last.outputs):
            break
        main.outputs, main.operators = [last.inputs[0]], main.operators[:-1]
    return len(main.operators) < before


def code_of(model: Node, operator: Node) -> int:
    """The builtin code of an operator; files before 2020 have it in another field."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _is_float(main: Node, index: int) -> bool:
    return main.tensors[index].type == schema.TensorType.FLOAT32
