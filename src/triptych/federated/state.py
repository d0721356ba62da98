"""What server and clients keep between rounds: tensors and numbers in one file, whole or absent."""

import io
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from triptych.data.files import write_atomic
from triptych.errors import DataError


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers and texts, atomically."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any] | None:
    """What `save_state` wrote; None where there is nothing. Raises DataError for anything else."""
    if not path.exists():
        return None
    try:
        return torch.load(path, weights_only=True)
    except (UnpicklingError, EOFError, RuntimeError) as error:
        raise DataError(
            f"{path} is damaged or was not written by this program; nothing in it was run. Delete "
            f"{path.parent} to start anew"
        ) from error
