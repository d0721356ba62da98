"""What the stages of the tiny panel hand to each other, read with checks."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from triptych.config.data import DataConfig
from triptych.config.tiny import SpaceConfig
from triptych.data.files import read_json, write_atomic
from triptych.data.prepared import Split
from triptych.errors import DataError
from triptych.tiny.arch import ArchConfig, SearchSpace, search_space
from triptych.tiny.inputs import to_input
from triptych.tiny.supernet import Supernet


def hold_out(split: Split, size: int) -> tuple[Split, Split]:
    """The training part, and the last `size` examples for the search to judge by."""
    return split.take(slice(len(split) - size)), split.take(slice(len(split) - size, None))


def tensors(
    split: Split, resolution: int
) -> tuple[Float[Tensor, "n channels height width"], Int64[Tensor, " n"]]:
    """Network inputs and labels."""
    return to_input(torch.from_numpy(split.images), resolution), torch.from_numpy(split.labels)


def read_space(path: Path, config: SpaceConfig, data: DataConfig) -> SearchSpace:
    """The space that the space stage chose."""
    chosen: Any = read_json(path)["chosen"]
    return search_space(config, data, chosen["width_mult"], chosen["resolution"])


def read_arch(path: Path, space: SearchSpace) -> ArchConfig:
    """The architecture that the search chose; raises DataError where it is not of `space`."""
    arch = ArchConfig.from_json(read_json(path))
    space.check(arch)
    return arch


def write_supernet(path: Path, supernet: Supernet) -> None:
    """The weights as safetensors."""
    weights = {name: value.contiguous() for name, value in supernet.state_dict().items()}
    write_atomic(path, save(weights))


def read_supernet(path: Path, space: SearchSpace) -> Supernet:
    """The trained supernet; raises DataError where the file is missing, corrupt or of another space."""
    supernet = Supernet(space)
    try:
        supernet.load_state_dict(load(path.read_bytes()))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro` to make it") from error
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} does not hold the supernet of width_mult={space.width_mult} ({reason}); "
            "run its stage again"
        ) from error
    return supernet
