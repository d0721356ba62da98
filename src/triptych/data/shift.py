"""A spurious colour on grey images: it follows the label in the source, not in the target.

The folder of a shifted data set is laid out as prepared data, with two additions:

<folder>/source_train.safetensors, source_test.safetensors, target_test.safetensors
                                   images uint8 [n, 2, height, width], labels int64 [n]
<folder>/target_train.safetensors  images alone: the target has no labels
<folder>/colours.safetensors       colour float32 [n] in [0, 1] of every split, by its name
<folder>/card.json                 the colour law, sizes, how far colour and label agree

Colored MNIST of Chen, Wei, Kumar, Ma, "Self-training Avoids Using Spurious
Features Under Domain Shift" (arXiv 2006.10032), section 6 and its released script.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from triptych.config.robust import ShiftConfig
from triptych.data.files import write_atomic
from triptych.data.prepared import Split, read_card, read_split, write_prepared
from triptych.errors import DataError

SPLITS = ("source_train", "source_test", "target_train", "target_test")


@dataclass(frozen=True)
class ColourLaw:
    """How colours are drawn: a function of the split, its source labels and the repetition.

    Repetition 0 is what the files hold; the others are fresh draws for the same images.
    """

    ways: int
    p: float
    seed: int

    def source(
        self, split: str, labels: Int64[np.ndarray, " n"], repetition: int = 0
    ) -> Float32[np.ndarray, " n"]:
        """With probability p the colour follows the label, else it is drawn as in the target."""
        rng = self._rng(split, repetition)
        free = self._free(len(labels), rng)
        follows = rng.random(len(labels)) < self.p
        return np.where(follows, self._toward(labels, free), free).astype(np.float32)

    def target(self, split: str, size: int, repetition: int = 0) -> Float32[np.ndarray, " n"]:
        """Independent of the label: U[0, 1], or N(1/2, 1/6) for two ways."""
        return self._free(size, self._rng(split, repetition)).astype(np.float32)

    def _rng(self, split: str, repetition: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(split), repetition])

    def _free(self, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.random(size) if self.ways == 10 else rng.normal(1 / 2, 1 / 6, size).clip(0, 1)

    def _toward(self, labels: NDArray[np.int64], free: NDArray[np.float64]) -> NDArray[np.float64]:
        """`free` moved into the label's tenth, or reflected to the label's side (1 is above 1/2)."""
        if self.ways == 10:
            return (labels + free) / 10
        distance = np.abs(free - 1 / 2)
        return np.where(labels == 1, 1 / 2 + distance, 1 / 2 - distance)


def colour_bin(colour: Float32[np.ndarray, " n"], ways: int) -> Int64[np.ndarray, " n"]:
    """The label that a colour points to: its tenth, or its half."""
    return np.minimum(colour * ways, ways - 1).astype(np.int64)


def paint(
    grey: UInt8[np.ndarray, "n height width"], colour: Float32[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n 2 height width"]:
    """Channels image * c and image * (1 - c).

    The first is rounded to whole bytes (off by at most 1/510 of full scale) and
    the second is the rest, so that the channels add up to the grey image exactly.
    """
    first = np.rint(grey * colour[:, None, None]).astype(np.uint8)
    return np.stack([first, grey - first], axis=1)


def repaint(
    images: UInt8[np.ndarray, "n 2 height width"], colour: Float32[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n 2 height width"]:
    """The same images in other colours."""
    return paint(images[:, 0] + images[:, 1], colour)


@dataclass(frozen=True)
class Shifted:
    """A labelled source and a target whose training images have no labels."""

    law: ColourLaw
    labelled: Mapping[str, Split]  # source_train, source_test, target_test
    target_train: UInt8[np.ndarray, "n 2 height width"]
    colours: Mapping[str, Float32[np.ndarray, " _"]]

    def aligned_shares(self) -> dict[str, float]:
        """Share of each labelled split whose colour points to its label."""
        return {
            name: float(np.mean(colour_bin(self.colours[name], self.law.ways) == split.labels))
            for name, split in self.labelled.items()
        }

    def correlations(self) -> dict[str, float]:
        """Correlation of colour and label in each labelled split."""
        return {
            name: float(np.corrcoef(self.colours[name], split.labels)[0, 1])
            for name, split in self.labelled.items()
        }


def shift(train: Split, test: Split, config: ShiftConfig, *, seed: int) -> Shifted:
    """Divide and paint: source from the first half of `train`, target from the second half and `test`.

    Raises DataError where the first half is too small for the source.
    """
    law = ColourLaw(config.ways, config.p, seed)
    half, size = len(train) // 2, config.source_train_size
    end = size + config.source_test_size
    if end > half:
        raise DataError(
            f"the source needs {end} images, half of the training split has {half}; run `prepare`"
        )
    parts = {"source_train": train.take(slice(size)), "source_test": train.take(slice(size, end))}
    parts["target_test"] = test
    labels = {name: relabel(part.labels, config.ways) for name, part in parts.items()}
    unlabelled = train.images[half:, 0]
    colours = {name: law.source(name, labels[name]) for name in ("source_train", "source_test")}
    colours["target_train"] = law.target("target_train", len(unlabelled))
    colours["target_test"] = law.target("target_test", len(test))
    labelled = {
        name: Split(paint(part.images[:, 0], colours[name]), labels[name]) for name, part in parts.items()
    }
    return Shifted(law, labelled, paint(unlabelled, colours["target_train"]), colours)


def relabel(labels: Int64[np.ndarray, " n"], ways: int) -> Int64[np.ndarray, " n"]:
    """The class itself, or for two ways whether it is below 5."""
    return labels if ways == 10 else (labels < 5).astype(np.int64)


def write_shifted(folder: Path, shifted: Shifted, *, card: Mapping[str, Any]) -> None:
    """Write the four splits, their colours and the card."""
    law = shifted.law
    write_atomic(folder / "target_train.safetensors", save({"images": shifted.target_train}))
    write_atomic(folder / "colours.safetensors", save(dict(shifted.colours)))
    facts = {
        "colour_law": asdict(law),
        "aligned_shares": shifted.aligned_shares(),
        "correlations": shifted.correlations(),
        "unlabelled_sizes": {"target_train": len(shifted.target_train)},
    }
    write_prepared(folder, shifted.labelled, classes=law.ways, card={**card, **facts, "classes": law.ways})


def read_law(folder: Path) -> ColourLaw:
    """The law that made the files, so that fresh draws agree with them."""
    card = read_card(folder)
    try:
        return ColourLaw(**card["colour_law"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder}/card.json has no colour_law; run `dvc repro robust_shift`") from error


def read_repetition(folder: Path, name: str, repetition: int) -> tuple[Split, Float32[np.ndarray, " n"]]:
    """A labelled split and its colours: the files themselves (0), or the same images in fresh colours."""
    split = read_split(folder, name)
    if repetition == 0:
        return split, _read_array(folder / "colours.safetensors", name)
    law = read_law(folder)
    if name.startswith("source"):
        colour = law.source(name, split.labels, repetition)
    else:
        colour = law.target(name, len(split), repetition)
    return Split(repaint(split.images, colour), split.labels), colour


def read_unlabelled(folder: Path, name: str, repetition: int) -> UInt8[np.ndarray, "n 2 height width"]:
    """Images of a target split, in the file's colours (0) or in fresh ones; labels are not read."""
    images = _read_array(folder / f"{name}.safetensors", "images")
    if repetition == 0:
        return images
    return repaint(images, read_law(folder).target(name, len(images), repetition))


def _read_array(path: Path, key: str) -> NDArray[Any]:
    try:
        return load(path.read_bytes())[key]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro robust_shift` to make it") from error
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{path} has no array {key!r} ({error}); run `dvc repro -f robust_shift`") from error
