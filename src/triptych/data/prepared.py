"""The prepared-data layout: what every stage reads, real or synthetic.

<folder>/train.safetensors   images uint8 [n, channels, height, width], labels int64 [n]
<folder>/test.safetensors    the same (absent in synthetic sets)
<folder>/card.json           source, checksum, licence, split sizes, class counts
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from safetensors import SafetensorError
from safetensors.numpy import load, save

from triptych.data.files import read_json, write_atomic, write_json
from triptych.errors import DataError


@dataclass(frozen=True)
class Split:
    """Images and their labels, in one fixed order."""

    images: UInt8[np.ndarray, "n channels height width"]
    labels: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: slice | np.ndarray) -> "Split":
        """The examples at `index`, in its order."""
        return Split(self.images[index], self.labels[index])

    def sample(self, size: int, *, seed: int) -> "Split":
        """`size` examples drawn without replacement; all, in their order, where there are no more."""
        if size >= len(self):
            return self
        return self.take(np.random.default_rng(seed).permutation(len(self))[:size])

    def class_counts(self, classes: int) -> list[int]:
        """Number of examples of each class."""
        return np.bincount(self.labels, minlength=classes).tolist()


def write_prepared(
    folder: Path, splits: Mapping[str, Split], *, classes: int, card: Mapping[str, Any]
) -> None:
    """Write the splits and their card; sizes and class counts are added to `card`."""
    for name, split in splits.items():
        arrays = {"images": np.ascontiguousarray(split.images), "labels": split.labels}
        write_atomic(folder / f"{name}.safetensors", save(arrays))
    counts = {name: split.class_counts(classes) for name, split in splits.items()}
    sizes = {name: len(split) for name, split in splits.items()}
    write_json(folder / "card.json", {**card, "sizes": sizes, "class_counts": counts})


def read_split(folder: Path, name: str) -> Split:
    """Read one split. Raises DataError where the file is missing, corrupt or misshapen."""
    path = folder / f"{name}.safetensors"
    try:
        arrays = load(path.read_bytes())
        images, labels = arrays["images"], arrays["labels"]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro` to make it") from error
    except (SafetensorError, KeyError) as error:
        raise DataError(
            f"{path} is not a prepared data set ({error}); delete it and run its stage again"
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != (len(images),):
        raise DataError(
            f"{path} holds images {images.dtype}{images.shape} and labels {labels.shape}; "
            "expected uint8 [n, channels, height, width] and [n]"
        )
    return Split(images, labels.astype(np.int64))


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a prepared data set."""
    return read_json(folder / "card.json")
