"""Tensors as Flower messages: packed, counted, and believed only after checks."""

from collections.abc import Mapping

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from jaxtyping import Float
from torch import Tensor

TENSORS = "tensors"
ORDER = "order"
HEADER = 1024  # bytes that NumPy's own header may take, beside the values


class Refused(Exception):  # noqa: N818  # not an error of ours: a verdict about a message
    """A reply that cannot be used; says why."""


def pack(tensors: Mapping[str, Tensor], **order: int | str) -> RecordDict:
    """Named tensors, with the numbers and texts that go with them."""
    arrays = {name: Array(np.ascontiguousarray(value.numpy())) for name, value in tensors.items()}
    return RecordDict({TENSORS: ArrayRecord(arrays), ORDER: ConfigRecord({**order})})


def tensor(content: RecordDict, name: str) -> Tensor:
    """A tensor that the server sent, writable."""
    return torch.from_numpy(content.array_records[TENSORS][name].numpy().copy())


def order(content: RecordDict, name: str) -> int:
    """A number that the server sent."""
    value = content.config_records[ORDER][name]
    assert isinstance(value, int)
    return value


def content_bytes(message: Message) -> int:
    """Bytes of everything that `message` carries, as Flower writes it to the wire; an error carries none.

    The envelope (addresses, times, digests; about 300 bytes) is left out: it
    holds random numbers of varying length.
    """
    if not message.has_content():
        return 0
    return sum(len(part.deflate()) for part in get_all_nested_objects(message.content).values())


def believed(reply: Message, name: str, shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """The finite float32 tensor of this shape that a client sent. Raises Refused for anything else."""
    if reply.has_error():
        raise Refused(f"failed: {reply.error.reason}")
    try:
        array = reply.content.array_records[TENSORS][name]
        limit = 4 * int(np.prod(shape)) + HEADER
        if array.dtype != "float32" or tuple(array.shape) != shape or len(array.data) > limit:
            raise Refused(f"sent {array.dtype}{tuple(array.shape)}, expected float32{shape}")
        values = array.numpy()
    except Refused:
        raise
    except Exception as error:  # whatever a hostile message provokes must not stop the round
        raise Refused(f"sent what is no tensor: {type(error).__name__}") from error
    if values.dtype != np.float32 or values.shape != shape:
        raise Refused(f"sent {values.dtype}{values.shape} under another name, expected float32{shape}")
    if not np.isfinite(values).all():
        raise Refused("sent values that are not finite")
    return torch.from_numpy(values.copy())
