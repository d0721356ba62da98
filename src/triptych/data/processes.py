"""Processes that train together: how many there are, and which one this is."""

from torch import distributed


def ranks() -> int:
    """How many processes train; 1 where none were started."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def backend(accelerator: str) -> str:
    """What carries tensors between them."""
    return "nccl" if accelerator == "gpu" else "gloo"
