"""The ensemble a part at a time: memory for the gradients and activations of a part suffices.

Which members train at a step is a function of the step alone, never of a secret
draw: the theorems of `independent` and `shared` rest on it.
"""

from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.func import functional_call


class Part:
    """Consecutive members of a stacked module, with parameters of their own on its memory.

    An optimiser that steps these parameters changes the module, and so does the
    power iteration of its spectral norms. Make parts after the module has moved
    to its device.
    """

    def __init__(self, module: nn.Module, members: slice) -> None:
        self.module, self.members = module, members
        self.weights = {name: nn.Parameter(value.data[members]) for name, value in module.named_parameters()}
        self.buffers = {name: value[members] for name, value in module.named_buffers()}

    def __len__(self) -> int:
        return self.members.stop - self.members.start

    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401  # as the module's own
        return functional_call(self.module, {**self.weights, **self.buffers}, inputs)


def cut(module: nn.Module, members: int, *, chunk: int | None, group: int | None = None) -> list[Part]:
    """All members in parts of at most `chunk`, none of which crosses the border of a group."""
    group = group or members
    chunk = min(chunk or group, group)
    parts = []
    for border in range(group, members + 1, group):
        starts = range(border - group, border, chunk)
        parts += [Part(module, slice(start, min(start + chunk, border))) for start in starts]
    return parts


def rotation(step: int, members: int, group: int | None) -> slice:
    """The members that train at `step`: the groups take turns."""
    group = group or members
    first = step * group % members
    return slice(first, first + group)


def within(parts: list[Part], members: slice) -> list[Part]:
    """The parts that make up `members`."""
    return [p for p in parts if members.start <= p.members.start and p.members.stop <= members.stop]


def offset(part: Part, members: slice) -> slice:
    """Where `part` lies in an array over `members`."""
    return slice(part.members.start - members.start, part.members.stop - members.start)


class Picked:
    """A copy of some members, in any order and with repetition."""

    def __init__(self, module: nn.Module, members: Int64[Tensor, " picked"]) -> None:
        self.module = module
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        with torch.no_grad():
            self.tensors = {name: value[members] for name, value in tensors.items()}

    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401  # as the module's own
        return functional_call(self.module, self.tensors, inputs)
