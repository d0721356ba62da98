"""Network weights as safetensors: no code runs when they are read.

Neither way holds a second copy of all weights: of a thousand discriminators they fill a fifth of the memory.
"""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from triptych.data.files import replacing
from triptych.errors import DataError, OutputError


def save_weights(path: Path, module: nn.Module) -> None:
    """Write the state of `module`, whole or not at all. Raises OutputError where there is no room."""
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with replacing(path) as temporary:
        try:
            save_file(state, temporary)
        except SafetensorError as error:  # it hides what the system says
            raise OutputError(f"cannot write {path}: {error}; free the disk") from error


def load_weights(path: Path, module: nn.Module) -> None:
    """Read into `module`. Raises DataError where the file is missing, broken or of another network."""
    try:
        module.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro` to make it") from error
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(
            f"{path} does not fit the configured network ({reason}); run its stage again"
        ) from error
