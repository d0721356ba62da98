"""A feed-forward network as data: the one language of training, search and engine.

The same classes describe the float network (weights float32, tensors without
quantization) and the integer one (weights int8, biases int32, every tensor
quantized). Activations are NHWC with batch 1; the semantics are TFLite's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Padding = Literal["same", "valid"] | tuple[Pair, Pair]  # or rows (above, below), columns (left, right)
Activation = Literal["none", "relu", "relu6"]


@dataclass(frozen=True)
class Quantization:
    """`real = scale * (integer - zero_point)`; scale is exactly a float32."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Tensor:
    """An activation: shape [1, height, width, channels] or [1, features]."""

    name: str
    shape: tuple[int, ...]
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        """Number of elements; also bytes, once the network is int8."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Conv2D:
    """Convolution, weight [out, kernel_height, kernel_width, in], bias [out]."""

    name: str
    input: str
    output: str
    weight: NDArray[np.generic]
    bias: NDArray[np.generic]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "same"
    activation: Activation = "none"
    weight_scale: NDArray[np.float32] | None = None  # [out], integer networks only


@dataclass(frozen=True)
class DepthwiseConv2D:
    """Depthwise convolution, weight [1, kernel_height, kernel_width, channels], bias [channels]."""

    name: str
    input: str
    output: str
    weight: NDArray[np.generic]
    bias: NDArray[np.generic]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "same"
    activation: Activation = "none"
    weight_scale: NDArray[np.float32] | None = None  # [channels], integer networks only


@dataclass(frozen=True)
class FullyConnected:
    """Matrix product, weight [out, in], bias [out]; flattens its input."""

    name: str
    input: str
    output: str
    weight: NDArray[np.generic]
    bias: NDArray[np.generic]
    activation: Activation = "none"
    weight_scale: NDArray[np.float32] | None = None  # [out] or [1], integer networks only


@dataclass(frozen=True)
class Add:
    """Elementwise sum of two tensors of one shape."""

    name: str
    input: str
    other: str
    output: str
    activation: Activation = "none"


@dataclass(frozen=True)
class AveragePool2D:
    """Average over windows; border windows average what lies inside. Keeps the quantization."""

    name: str
    input: str
    output: str
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = "valid"
    activation: Activation = "none"


@dataclass(frozen=True)
class MaxPool2D:
    """Maximum over windows, of what lies inside the image. Keeps the quantization."""

    name: str
    input: str
    output: str
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = "valid"
    activation: Activation = "none"


@dataclass(frozen=True)
class Mean:
    """Average over the rows (axis 1), the columns (2), or both; keeps the axes, with size one."""

    name: str
    input: str
    output: str
    axes: tuple[int, ...]
    activation: ClassVar[Activation] = "none"


Op = Conv2D | DepthwiseConv2D | FullyConnected | Add | AveragePool2D | MaxPool2D | Mean
Pool = AveragePool2D | MaxPool2D
Weighted = Conv2D | DepthwiseConv2D | FullyConnected


@dataclass(frozen=True)
class Graph:
    """Operators in execution order over named tensors; one input, one output."""

    input: str
    output: str
    tensors: dict[str, Tensor] = field(repr=False)
    ops: tuple[Op, ...] = field(repr=False)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def weighted(self) -> Iterator[Weighted]:
        """The operators that carry weights, in order."""
        return (op for op in self.ops if isinstance(op, Weighted))


def inputs_of(op: Op) -> tuple[str, ...]:
    """Names of the activations that `op` reads."""
    return (op.input, op.other) if isinstance(op, Add) else (op.input,)


def output_size(size: int, kernel: int, stride: int, padding: Literal["same", "valid"] | Pair) -> int:
    """Spatial output size of a window operator (TFLite)."""
    if padding == "same":
        return -(-size // stride)
    return (size + sum(padding_of(size, kernel, stride, padding)) - kernel) // stride + 1


def paddings_of(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Padding
) -> tuple[Pair, Pair]:
    """`padding_of` rows and of columns."""
    axes = padding if isinstance(padding, tuple) else (padding, padding)
    rows, columns = (padding_of(*each) for each in zip(size, kernel, stride, axes, strict=True))
    return rows, columns


def padding_of(size: int, kernel: int, stride: int, padding: Literal["same", "valid"] | Pair) -> Pair:
    """Rows added before and after; `same` puts the odd one after (TFLite)."""
    if isinstance(padding, tuple):
        return padding
    if padding == "valid":
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
