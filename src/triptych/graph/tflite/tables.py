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
}
