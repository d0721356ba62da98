# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""How the format numbers operators, options, padding and activations."""

from typing import Any, Literal

from ai_edge_litert import schema_py_generated as schema

from triptych.graph.ops import (
    Activation,
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
)

Node = Any  # an object of the untyped schema
IDENTIFIER = b"TFL3"
CODE = schema.BuiltinOperator
OPTIONS = schema.BuiltinOptions
PADDING: dict[Literal["same", "valid"], int] = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}
ACTIVATION: dict[Activation, int] = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
# operator -> (code, version with int8 kernels, kind of options)
CODES: dict[type[Op], tuple[int, int, int]] = {
    Conv2D: (CODE.CONV_2D, 3, OPTIONS.Conv2DOptions),
    DepthwiseConv2D: (CODE.DEPTHWISE_CONV_2D, 3, OPTIONS.DepthwiseConv2DOptions),
    FullyConnected: (CODE.FULLY_CONNECTED, 4, OPTIONS.FullyConnectedOptions),
    Add: (CODE.ADD, 2, OPTIONS.AddOptions),
    AveragePool2D: (CODE.AVERAGE_POOL_2D, 2, OPTIONS.Pool2DOptions),
    MaxPool2D: (CODE.MAX_POOL_2D, 2, OPTIONS.Pool2DOptions),
    Mean: (CODE.MEAN, 2, OPTIONS.ReducerOptions),
    Pad: (CODE.PAD, 2, OPTIONS.PadOptions),
    ResizeNearest: (CODE.RESIZE_NEAREST_NEIGHBOR, 3, OPTIONS.ResizeNearestNeighborOptions),
    Softmax: (CODE.SOFTMAX, 2, OPTIONS.SoftmaxOptions),
    Requantize: (CODE.QUANTIZE, 2, OPTIONS.QuantizeOptions),
    Reshape: (CODE.RESHAPE, 1, OPTIONS.ReshapeOptions),
}
# with weights of 4 bits; of depthwise it is 7, for which LiteRT's reference kernels are not registered though
# they compute it
INT4_VERSION: dict[type[Op], int] = {Conv2D: 7, DepthwiseConv2D: 6, FullyConnected: 10}
PADV2 = (CODE.PADV2, 2, OPTIONS.PadV2Options)  # a pad with a value of its own
OPTIONS_OF = {code: kind for code, _, kind in (*CODES.values(), PADV2)}
OPTIONS_READ = set(OPTIONS_OF.values())


def code_of(model: Node, operator: Node) -> int:
    """The builtin code of an operator; files before 2020 have it in another field."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)
