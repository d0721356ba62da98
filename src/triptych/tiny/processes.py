"""The supernet over several processes: each takes its part of every batch, the result is that of one.

Gradients are averaged by DDP. Batch normalization has to see the whole batch too,
or a subnet would be normalized by a part of it.
"""

from typing import Any

import torch
from jaxtyping import Float
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed

from triptych.config.checks import require
from triptych.config.system import TrainerConfig
from triptych.data.processes import backend, ranks
from triptych.tiny.schedule import Phase


def strategy(trainer: TrainerConfig, batch_size: int, phase: Phase) -> DDPStrategy | None:
    """Processes forked where training starts; None for one device.

    Raises ConfigError where a batch cannot be shared out equally.
    """
    if trainer.devices == 1:
        return None
    require(
        batch_size % trainer.devices == 0,
        f"trainer.devices={trainer.devices} must divide tiny.supernet.batch_size={batch_size}: "
        "every process takes an equal part of the batch",
    )
    carrier = backend(trainer.accelerator)
    whole = phase.sandwich or phase.space.smallest() == phase.space.largest()
    # without the largest subnet, a batch trains some of the weights alone
    return DDPStrategy(start_method="fork", process_group_backend=carrier, find_unused_parameters=not whole)


class _Average(torch.autograd.Function):
    """The mean over all processes; every process's loss sends its gradient back to all of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ANN401  # torch's type
        return _averaged(values)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:  # noqa: ANN401  # torch's type
        return _averaged(*grad_outputs)


def _averaged(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total / ranks()


def normalize_together(
    y: Float[Tensor, "batch channels height width"],
    gain: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    *,
    epsilon: float,
) -> Float[Tensor, "batch channels height width"]:
    """Batch normalization by the moments over the equally large batches of all processes."""
    variance, middle = torch.var_mean(y, dim=(0, 2, 3), correction=0)
    mean = _Average.apply(middle)
    variance = _Average.apply(variance + (middle - mean).square())
    scale = gain * torch.rsqrt(variance + epsilon)
    return (y - mean[:, None, None]) * scale[:, None, None] + bias[:, None, None]
