"""Stacked convolutions whose lanes are the images of a batch: on a CPU faster than grouped ones.

Convolution is linear in its input and in its weights, and so are its two gradients: the three
are each other's derivatives, to any order. The gradient penalty needs the second.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from triptych.private.compiled import LANES, Inputs, Outputs, Weights, Window, convolve, correlate, spread


def runs_on(x: Tensor) -> bool:
    """Whether the kernels are for [members, batch, ...]: lanes without an image are work for nothing."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[1] >= LANES // 2


def to_lanes(x: Float[Tensor, "members batch inputs h w"]) -> Inputs:
    """The batch innermost, with zeros up to a multiple of the lanes."""
    return F.pad(x.permute(0, 3, 4, 2, 1), (0, -x.shape[1] % LANES))


Context = Any  # autograd's, where a function notes what its gradient needs
_inputs_alone: ContextVar[bool] = ContextVar("inputs_alone", default=False)


@contextmanager
def inputs_alone() -> Iterator[None]:
    """Gradients taken inside are those of inputs; torch tells its own layers so, but none of ours."""
    token = _inputs_alone.set(True)
    try:
        yield
    finally:
        _inputs_alone.reset(token)


class Convolve(torch.autograd.Function):
    """Input, weights and bias to output."""

    @staticmethod
    def forward(ctx: Context, x: Inputs, weight: Weights, bias: Tensor | None, at: Window) -> Outputs:
        ctx.save_for_backward(x, weight)
        ctx.at = at
        return convolve(x, weight, bias, at)

    @staticmethod
    def backward(ctx: Context, *gradients: Outputs) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        x, weight = ctx.saved_tensors
        asked, weighs = ctx.needs_input_grad, not _inputs_alone.get()
        return (
            Spread.apply(g, weight, ctx.at) if asked[0] else None,
            Correlate.apply(x, g, ctx.at) if asked[1] and weighs else None,
            g.sum((1, 2, 4)) if asked[2] and weighs else None,
            None,
        )


class Spread(torch.autograd.Function):
    """A gradient of the output and the weights to one of the input."""

    @staticmethod
    def forward(ctx: Context, g: Outputs, weight: Weights, at: Window) -> Inputs:
        ctx.save_for_backward(g, weight)
        ctx.at = at
        return spread(g, weight, at)

    @staticmethod
    def backward(ctx: Context, *gradients: Inputs) -> tuple[Tensor | None, ...]:
        (x,) = gradients
        g, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad
        return (
            Convolve.apply(x, weight, None, ctx.at) if asked[0] else None,
            Correlate.apply(x, g, ctx.at) if asked[1] else None,
            None,
        )


class Correlate(torch.autograd.Function):
    """An input and a gradient of the output to one of the weights."""

    @staticmethod
    def forward(ctx: Context, x: Inputs, g: Outputs, at: Window) -> Weights:
        ctx.save_for_backward(x, g)
        ctx.at = at
        return correlate(x, g, at)

    @staticmethod
    def backward(ctx: Context, *gradients: Weights) -> tuple[Tensor | None, ...]:
        (weight,) = gradients
        x, g = ctx.saved_tensors
        asked = ctx.needs_input_grad
        return (
            Spread.apply(g, weight, ctx.at) if asked[0] else None,
            Convolve.apply(x, weight, None, ctx.at) if asked[1] else None,
            None,
        )
