"""The C of `kernels/` on tensors: float32, contiguous; threads share the members out.

A member's numbers come from one thread, so they do not depend on how many there are.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from triptych.native import load_kernels

LANES = 16  # the batch is a multiple of them
GRAIN = 2**16  # numbers that are worth a thread
POINTER, SIZE, FLOAT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_float

Inputs = Float[Tensor, "members height width inputs lanes"]
Outputs = Float[Tensor, "members rows columns outputs lanes"]
Weights = Float[Tensor, "members kernel kernel inputs outputs"]

Constants = tuple[float, float, float, float, float, float]  # as in adam.c


class Window(NamedTuple):
    """How a square kernel moves over a square image of `size`."""

    size: int
    kernel_size: int
    stride: int
    padding: int

    @property
    def places(self) -> int:
        """Rows and columns of the output."""
        return (self.size + 2 * self.padding - self.kernel_size) // self.stride + 1


def convolve(
    x: Inputs, weight: Weights, bias: Float[Tensor, "members outputs"] | None, at: Window
) -> Outputs:
    """Convolution of every member's images with its own weights."""
    members, outputs = weight.shape[0], weight.shape[-1]
    y = x.new_empty(members, at.places, at.places, outputs, x.shape[-1])
    _share(_kernels().convolve, (x, weight, bias, y), _shape(x.shape[-1], weight, at), len(x))
    return y


def spread(g: Outputs, weight: Weights, at: Window) -> Inputs:
    """The gradient of `convolve` in its input, given that in its output."""
    x = g.new_empty(len(g), at.size, at.size, weight.shape[3], g.shape[-1])
    _share(_kernels().spread, (g, weight, x), _shape(g.shape[-1], weight, at), len(g))
    return x


def correlate(x: Inputs, g: Outputs, at: Window) -> Weights:
    """The gradient of `convolve` in its weights, given that in its output."""
    weight = x.new_empty(len(x), at.kernel_size, at.kernel_size, x.shape[3], g.shape[3])
    _share(_kernels().correlate, (x, g, weight), _shape(x.shape[-1], weight, at), len(x))
    return weight


def adam_average(gradient: Tensor, mean: Tensor, square: Tensor, constants: Constants) -> None:
    """The moments of Adam after a gradient, in place."""
    _share(_kernels().adam_average, (gradient, mean, square), (FLOAT * 6)(*constants), gradient.numel())


def adam_move(root: Tensor, mean: Tensor, weight: Tensor, constants: Constants) -> None:
    """The weights after a step of Adam, in place; `root` is that of the second moment."""
    _share(_kernels().adam_move, (root, mean, weight), (FLOAT * 6)(*constants), root.numel())


def _shape(batch: int, weight: Tensor, at: Window) -> ctypes.Array:
    inputs, outputs = weight.shape[3:]
    return (SIZE * 10)(
        batch, at.size, at.size, inputs, at.places, at.places, outputs, at.kernel_size, at.stride, at.padding
    )


def _share(
    function: Callable[..., None], tensors: tuple[Tensor | None, ...], constants: ctypes.Array, size: int
) -> None:
    """Call `function` for `size` members or elements, consecutive ones in each thread."""
    whole = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    largest = max(tensor.numel() for tensor in whole if tensor is not None)
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in whole]
    threads = min(torch.get_num_threads(), size, 1 + largest // GRAIN)  # ctypes frees the interpreter
    borders = [size * i // threads for i in range(threads + 1)]
    calls = [(*addresses, constants, *ends) for ends in pairwise(borders)]
    helpers = [Thread(target=function, args=call) for call in calls[1:]]
    for helper in helpers:
        helper.start()
    function(*calls[0])
    for helper in helpers:
        helper.join()


@cache
def _kernels() -> ctypes.CDLL:
    library = load_kernels(Path(__file__).parent / "kernels")
    for name, tensors in (("convolve", 4), ("spread", 3), ("correlate", 3)):
        function = getattr(library, name)
        function.argtypes = [*[POINTER] * tensors, SIZE * 10, SIZE, SIZE]
        function.restype = None
    for name in ("adam_average", "adam_move"):
        function = getattr(library, name)
        function.argtypes = [*[POINTER] * 3, FLOAT * 6, SIZE, SIZE]
        function.restype = None
    return library
