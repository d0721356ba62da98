"""Subnets of one batch side by side, each on one thread: the same bits on any number of threads.

Operators that share their work between threads wait for one another several
hundred times a step, and some add in another order then. The subnets of a step
need one another twice: where the losses are taken, and where gradients are added,
which happens here in one order whoever is ready first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Part(NamedTuple):
    """What one subnet does with the output that all share, and how long, in any unit."""

    run: Callable[[Tensor], Tensor]
    work: int


def side_by_side(
    shared: Callable[[], Tensor], parts: Sequence[Part], parameters: Iterable[Tensor]
) -> list[Tensor]:
    """`part.run(shared())` of every part, on as many threads as torch has.

    Only `parameters` get gradients, those that no part uses none.
    """
    outputs: Any = _SideBySide.apply(shared, parts, *parameters)
    return list(outputs)


class _SideBySide(torch.autograd.Function):
    """Graphs of their own for what is shared and for every part: autograd walks one in one thread."""

    @staticmethod
    def forward(  # autograd's signature
        ctx: Any,  # noqa: ANN401  # autograd's
        shared: Callable[[], Tensor],
        parts: Sequence[Part],
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        def run(part: Part) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                start = ctx.shared.detach().requires_grad_()
                return start, part.run(start)

        with _one_thread_each() as threads, torch.enable_grad():
            ctx.shared, ctx.parameters, ctx.work = shared(), parameters, [part.work for part in parts]
            ctx.parts = _each(run, parts, ctx.work, threads)
        return tuple(output.detach() for _, output in ctx.parts)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator hides the names
        ctx: Any,  # noqa: ANN401  # autograd's
        *gradients: Tensor,
    ) -> tuple[Tensor | None, ...]:
        def walk(i: int) -> tuple[Tensor | None, ...]:
            start, output = ctx.parts[i]
            return torch.autograd.grad(output, [start, *ctx.parameters], gradients[i], allow_unused=True)

        with _one_thread_each() as threads:
            found = _each(walk, range(len(ctx.parts)), ctx.work, threads)
            slope, *own = (_sum(column) for column in zip(*found, strict=True))
            first = torch.autograd.grad(ctx.shared, ctx.parameters, slope, allow_unused=True)
        return None, None, *(_sum(pair) for pair in zip(first, own, strict=True))


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Torch's operators take one thread; yields how many there were. New threads must ask for it again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _each(
    function: Callable[[Item], Result], items: Sequence[Item], work: Sequence[int], threads: int
) -> list[Result]:
    """`function` of every item, in order; who has the most work begins, so that no thread ends late.

    The threads end here: a process may be forked between two steps.
    """
    if threads == 1:
        return [function(item) for item in items]
    size = min(threads, len(items))
    with ThreadPoolExecutor(size, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        heaviest_first = sorted(range(len(items)), key=lambda i: -work[i])
        running = {i: pool.submit(function, items[i]) for i in heaviest_first}
        return [running[i].result() for i in range(len(items))]


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """From the last to the first, as autograd adds in one graph."""
    total = None
    for gradient in reversed(gradients):
        if gradient is not None:
            total = gradient if total is None else total + gradient
    return total
