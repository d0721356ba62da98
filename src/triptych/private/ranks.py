"""The ensemble over several processes: each computes consecutive members of its own, the first releases.

The generator is the same everywhere: all processes draw the same codes and
follow the same released gradient. What crosses between processes stays inside
the trust boundary; only what the first one sanitises leaves it.
"""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Shaped
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed

from triptych.config.system import TrainerConfig
from triptych.data.processes import backend, rank, ranks
from triptych.private.members import Part, cut


class SharedNothing(DDPStrategy):
    """Lightning's processes without its averaging of gradients: members have none in common."""

    def configure_ddp(self) -> None:
        """Leave the module unwrapped."""


def strategy(trainer: TrainerConfig) -> DDPStrategy | None:
    """Processes forked where training starts, so that data and ledger exist once; None for one device."""
    if trainer.devices == 1:
        return None
    return SharedNothing(start_method="fork", process_group_backend=backend(trainer.accelerator))


def parts_of(
    module: torch.nn.Module, members: int, *, chunk: int | None, group: int | None = None
) -> list[Part]:
    """All parts of a stacked module; none crosses the border of a group or of a process."""
    block = math.gcd(group or members, members // ranks())
    return cut(module, members, chunk=chunk, group=block)


def own(parts: list[Part], members: int) -> list[Part]:
    """Those that this process computes."""
    share = members // ranks()
    return [part for part in parts if part.members.start // share == rank()]


def owned(members: Shaped[Tensor, " picked"], total: int) -> Shaped[Tensor, " picked"]:
    """Which of some members this process computes."""
    return members // (total // ranks()) == rank()


def collect(values: Tensor) -> Tensor:
    """The sum over processes, in the first: what each computed, beside the zeros of the others."""
    if ranks() > 1:
        distributed.reduce(values, dst=0)
    return values


def spread(values: Tensor) -> Tensor:
    """What the first process holds, in all."""
    if ranks() > 1:
        distributed.broadcast(values, src=0)
    return values


def unite(parts: list[Part], optimizer: torch.optim.Optimizer, members: int) -> None:
    """Give every process the weights, buffers and optimiser state of every member."""
    if ranks() == 1:
        return
    for part in parts:
        owner = part.members.start // (members // ranks())
        tensors = [*(weight.data for weight in part.weights.values()), *part.buffers.values()]
        for weight in part.weights.values():
            tensors += _adam_state(optimizer, weight).values()
        for tensor in tensors:
            whole = tensor.contiguous()
            distributed.broadcast(whole, src=owner)
            tensor.copy_(whole)


def _adam_state(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> dict[str, Any]:
    """The state of one weight; before its first step that of a fresh Adam."""
    if not optimizer.state[weight]:
        zeros = torch.zeros_like(weight.data)
        optimizer.state[weight] = {"step": torch.tensor(0.0), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
    return optimizer.state[weight]


class Sharded(pl.LightningModule):
    """A module whose stacked parts lie in several processes; what it saves is whole."""

    parts: dict[int, list[Part]]  # by the number of their optimiser
    members: int

    def unite(self) -> None:
        """Every process holds the state of every member."""
        for index, parts in self.parts.items():
            unite(parts, self.trainer.optimizers[index], self.members)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Its weights share their memory with the module; the state of the optimisers is read anew."""
        if ranks() > 1:
            self.unite()
            checkpoint["optimizer_states"] = [it.state_dict() for it in self.trainer.optimizers]

    def on_train_end(self) -> None:
        """The process that goes on after training reads the first one's weights."""
        self.unite()
