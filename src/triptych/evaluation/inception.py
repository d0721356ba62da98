"""The published FID: Inception-v3 pool features on images tiled to three channels, by torch-fidelity.

The weights are a file that the user provides; nothing is downloaded. Their
scores carry `inception` in their name and never share a column with those on
the reference classifier.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch_fidelity
from jaxtyping import UInt8
from torch import Tensor

from triptych.data.files import sha256
from triptych.data.prepared import Split
from triptych.errors import DataError
from triptych.evaluation.fidelity import Images

SHA256_STARTS = "6726825d"  # of weights-inception-2015-12-05-6726825d.pth, torch-fidelity's own
NAMES = {
    "fid_inception": torch_fidelity.KEY_METRIC_FID,
    "kid_inception": torch_fidelity.KEY_METRIC_KID_MEAN,
}


class Tiled(Images):
    """The images of a split in three channels."""

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 height width"]:
        return super().__getitem__(index).expand(3, -1, -1)


def check_weights(path: Path) -> None:
    """Raise DataError unless `path` holds torch-fidelity's Inception-v3 weights.

    torch-fidelity unpickles the file without restraint, and eight digits of a digest can be forged. So it is
    read here first by the loader that accepts nothing but tensors.
    """
    if not path.is_file():
        raise DataError(f"private.inception={path} does not exist; download torch-fidelity's weights file")
    found = sha256(path)
    if not found.startswith(SHA256_STARTS):
        raise DataError(
            f"private.inception={path} has SHA-256 {found[:16]}…, not {SHA256_STARTS}…: it is not "
            "weights-inception-2015-12-05-6726825d.pth; download it again"
        )
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError) as error:
        raise DataError(f"private.inception={path} holds more than tensors; nothing in it was run") from error


def inception_fidelity(
    samples: Split, real: Split, *, weights: Path, seed: int = 0, accelerator: str = "cpu"
) -> Mapping[str, float]:
    """FID and KID of `samples` against `real`. Raises DataError where the weights are not the known ones."""
    check_weights(weights)
    scores = torch_fidelity.calculate_metrics(
        input1=Tiled(samples),
        input2=Tiled(real),
        cuda=accelerator == "gpu",
        fid=True,
        kid=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        kid_subset_size=min(1000, len(samples), len(real)),
        rng_seed=seed,
        cache=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    return {name: float(scores[key]) for name, key in NAMES.items()}
