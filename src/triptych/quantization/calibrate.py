"""The float network at work: what each tensor holds, and the range of its values."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from triptych.graph.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Moving,
    Op,
    Pad,
    Padding,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
    Weighted,
    nearest_indices,
    paddings_of,
)

Range = tuple[float, float]
CLAMPS = {"none": (-torch.inf, torch.inf), "relu": (0.0, torch.inf), "relu6": (0.0, 6.0)}


@torch.no_grad()
def activations(
    graph: Graph, x: Float[Tensor, "n channels height width"]
) -> Iterator[tuple[str, Float[Tensor, "n channels *rest"]]]:
    """Name and value of the input and of every operator's output, in order, NCHW."""
    values = {graph.input: x}
    yield graph.input, x
    for op in graph.ops:
        values[op.output] = apply(op, values, parameters(op))
        yield op.output, values[op.output]


def run_float(graph: Graph, x: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n outputs *rest"]:
    """The network's output for a batch."""
    return dict(activations(graph, x))[graph.output]


def calibrate(graph: Graph, batches: Sequence[Float[Tensor, "_ channels height width"]]) -> dict[str, Range]:
    """Smallest and largest value of every tensor over the batches."""
    ranges: dict[str, Range] = {}
    for batch in batches:
        for name, value in activations(graph, batch):
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = (min(low, value.min().item()), max(high, value.max().item()))
    return ranges


def parameters(op: Op) -> tuple[Tensor, Tensor] | None:
    """Weight and bias in the layout of the graph; None for an operator without."""
    return (_tensor(op.weight), _tensor(op.bias)) if isinstance(op, Weighted) else None


def apply(op: Op, values: Mapping[str, Tensor], parameters: tuple[Tensor, Tensor] | None) -> Tensor:
    """The output of `op`, activation included, NCHW; `parameters` are used in the place of its own."""
    x = values[op.input]
    y = _apply(op, values) if parameters is None else _apply_weighted(op, x, *parameters)
    low, high = CLAMPS[op.activation]
    return y.clamp(low, high)


def _apply_weighted(op: Op, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if isinstance(op, Conv2D | DepthwiseConv2D):
        return _convolve(op, x, weight, bias)
    # NHWC order, as the weight expects it
    return F.linear(x.movedim(1, -1).flatten(1) if x.ndim == 4 else x, weight, bias)


def _apply(op: Op, values: Mapping[str, Tensor]) -> Tensor:
    x = values[op.input]
    match op:
        case Conv2D() | DepthwiseConv2D() | FullyConnected():
            raise AssertionError(f"{op.name} has parameters")
        case Add():
            return x + values[op.other]
        case AveragePool2D():
            return _average(op, x)
        case MaxPool2D():
            return F.max_pool2d(_pad(x, op.window, op.stride, op.padding, -torch.inf), op.window, op.stride)
        case Mean():
            return x.mean(dim=[axis + 1 for axis in op.axes], keepdim=True)
        case Softmax() | Requantize() | Pad() | ResizeNearest() | Reshape():
            return _apply_unweighted(op, x)


def _apply_unweighted(op: Softmax | Requantize | Moving, x: Tensor) -> Tensor:
    match op:
        case Softmax():
            return torch.softmax(op.beta * x, dim=1)
        case Requantize():
            return x
        case Pad():
            assert op.value is None, f"{op.name} pads a float network with an integer"
            rows, columns, channels = op.amounts
            return F.pad(x, (*columns, *rows, *channels))
        case ResizeNearest():
            how = {"align_corners": op.align_corners, "half_pixel_centers": op.half_pixel_centers}
            rows, columns = (
                torch.from_numpy(nearest_indices(size, target, **how))
                for size, target in zip(x.shape[2:], op.size, strict=True)
            )
            return x[:, :, rows][..., columns]
        case Reshape():
            return x.movedim(1, -1).reshape(len(x), *op.shape[1:]).movedim(-1, 1)


def _convolve(op: Conv2D | DepthwiseConv2D, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    depthwise = isinstance(op, DepthwiseConv2D)
    weight = weight.permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    x = _pad(x, weight.shape[2:], op.stride, op.padding)
    return F.conv2d(x, weight, bias, op.stride, groups=len(weight) if depthwise else 1)


def _average(op: AveragePool2D, x: Tensor) -> Tensor:
    """Means over what lies inside: the padded mean, divided by the padded mean of ones."""
    inside = _pad(torch.ones_like(x[:1, :1]), op.window, op.stride, op.padding)
    padded = _pad(x, op.window, op.stride, op.padding)
    return F.avg_pool2d(padded, op.window, op.stride) / F.avg_pool2d(inside, op.window, op.stride)


def _pad(
    x: Tensor, window: Sequence[int], stride: Sequence[int], padding: Padding, value: float = 0
) -> Tensor:
    vertical, horizontal = paddings_of(x.shape[2:], window, stride, padding)
    return F.pad(x, (*horizontal, *vertical), value=value)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
