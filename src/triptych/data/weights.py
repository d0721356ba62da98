"""Network weights as safetensors: no code runs when they are read."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from triptych.data.files import write_atomic
from triptych.errors import DataError


def save_weights(path: Path, module: nn.Module) -> None:
    """Write the state of `module`, whole or not at all."""
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    write_atomic(path, save(state))


def load_weights(path: Path, module: nn.Module) -> None:
    """Read into `module`. Raises DataError where the file is missing, broken or of another network."""
    try:
        module.load_state_dict(load(path.read_bytes()))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro` to make it") from error
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(
            f"{path} does not fit the configured network ({reason}); run its stage again"
        ) from error
