"""A feed-forward network as data: the one language of training, search and engine.

The same classes describe the float network (weights float32, tensors without
quantization) and the integer one (weights int8, biases int32, every tensor
quantized). Activations are NHWC with batch 1; the semantics are TFLite's.
"""

import math
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
        return math.prod(self.shape)


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
    weight_bits: int = 8  # or 4: int8 values in [-8, 7], two a byte in files and flash


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
    weight_bits: int = 8  # or 4, as of Conv2D


@dataclass(frozen=True)
class FullyConnected:
    """Matrix product, weight [out, in], bias [out]; flattens its input.

    The output is [1, out], or with `keep_dims` has ones where the input has.
    """

    name: str
    input: str
    output: str
    weight: NDArray[np.generic]
    bias: NDArray[np.generic]
    activation: Activation = "none"
    weight_scale: NDArray[np.float32] | None = None  # [out] or [1], integer networks only
    keep_dims: bool = False
    weight_bits: int = 8  # or 4, as of Conv2D


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


@dataclass(frozen=True)
class Pad:
    """Rows, columns and channels before and after an image. Keeps the quantization."""

    name: str
    input: str
    output: str
    amounts: tuple[Pair, Pair, Pair]
    value: int | None = None  # int8, integer networks only; None stands for the real zero
    activation: ClassVar[Activation] = "none"


@dataclass(frozen=True)
class ResizeNearest:
    """Nearest-neighbour resize of an image to `size` (height, width). Keeps the quantization."""

    name: str
    input: str
    output: str
    size: tuple[int, int]
    align_corners: bool = False
    half_pixel_centers: bool = False
    activation: ClassVar[Activation] = "none"


@dataclass(frozen=True)
class Softmax:
    """Softmax of `beta` times the input over the last axis; int8 output is in 1/256, zero point -128."""

    name: str
    input: str
    output: str
    beta: float = 1.0
    activation: ClassVar[Activation] = "none"


@dataclass(frozen=True)
class Requantize:
    """The same reals on another grid (TFLite's QUANTIZE from int8 to int8)."""

    name: str
    input: str
    output: str
    activation: ClassVar[Activation] = "none"


@dataclass(frozen=True)
class Reshape:
    """The same values in the same order under another shape. Keeps the quantization."""

    name: str
    input: str
    output: str
    shape: tuple[int, ...]
    activation: ClassVar[Activation] = "none"


Pool = AveragePool2D | MaxPool2D
Moving = Pad | ResizeNearest | Reshape  # values move, none is computed
Op = Conv2D | DepthwiseConv2D | FullyConnected | Add | Pool | Mean | Moving | Softmax | Requantize
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


def nearest_indices(
    size: int, output_size: int, *, align_corners: bool, half_pixel_centers: bool
) -> NDArray[np.int64]:
    """For each row of a resized image the row that it copies; float32 arithmetic as TFLite's.

    Source: tensorflow/lite/kernels/internal/reference/resize_nearest_neighbor.h.
    """
    corners = align_corners and output_size > 1
    scale = np.float32(size - 1) / np.float32(output_size - 1) if corners else None
    scale = np.float32(size) / np.float32(output_size) if scale is None else scale
    at = (np.arange(output_size, dtype=np.float32) + np.float32(0.5 * half_pixel_centers)) * scale
    whole = np.floor(at)
    if align_corners:  # rounds half away from zero; nothing is negative
        whole += at - whole >= np.float32(0.5)
    return np.minimum(whole.astype(np.int64), size - 1)
