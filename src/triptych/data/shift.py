"""A source and a target: by a spurious colour painted on grey images, or as found.

The folder of a shifted data set is laid out as prepared data, with two additions:

<folder>/source_train.safetensors, source_test.safetensors, target_test.safetensors
                                   images uint8 [n, channels, height, width], labels int64 [n]
<folder>/target_train.safetensors  images alone: the target has no labels
<folder>/colours.safetensors       the spurious feature, float32 [n] in [0, 1], of every split by its name;
                                   empty where none is known
<folder>/card.json                 sizes, class counts, the colour law (null where nothing is painted), how
                                   far feature and label agree

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
from triptych.data.published import PublishedDraw
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
    published: PublishedDraw | None = None  # the released script's colours instead of our own

    def source(
        self, split: str, labels: Int64[np.ndarray, " n"], repetition: int = 0
    ) -> Float32[np.ndarray, " n"]:
        """With probability p the colour follows the label, else it is drawn as in the target."""
        if self.published:
            return self.published.source(split, labels, self.ways, self.p, self.seed + repetition)
        rng = self._rng(split, repetition)
        free = self._free(len(labels), rng)
        follows = rng.random(len(labels)) < self.p
        return np.where(follows, self._toward(labels, free), free).astype(np.float32)

    def target(self, split: str, size: int, repetition: int = 0) -> Float32[np.ndarray, " n"]:
        """Independent of the label: U[0, 1], or N(1/2, 1/6) for two ways."""
        if self.published:
            return self.published.target(split, self.ways, self.seed + repetition)
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

    law: ColourLaw | None  # None: nothing is painted
    classes: int
    labelled: Mapping[str, Split]  # source_train, source_test, target_test
    target_train: UInt8[np.ndarray, "n channels height width"]
    colours: Mapping[str, Float32[np.ndarray, " _"]]  # the spurious feature; empty where none is known

    def aligned_shares(self) -> dict[str, float]:
        """Share of each labelled split whose colour points to its label."""
        return {
            name: float(np.mean(colour_bin(self.colours[name], self.classes) == split.labels))
            for name, split in self.labelled.items()
            if name in self.colours
        }

    def correlations(self) -> dict[str, float]:
        """Correlation of colour and label in each labelled split."""
        return {
            name: float(np.corrcoef(self.colours[name], split.labels)[0, 1])
            for name, split in self.labelled.items()
            if name in self.colours
        }


def divide(train: Split, test: Split, config: ShiftConfig, *, seed: int) -> dict[str, Split]:
    """Source splits from the first half of `train`, target splits from the second half and `test`.

    The labels of `target_train` decide which images are kept where
    `config.keep` is below 1, and are dropped afterwards. Raises DataError where
    the first half is too small for the source.
    """
    half, size = len(train) // 2, config.source_train_size
    end = size + config.source_test_size
    if end > half:
        raise DataError(
            f"the source needs {end} images, half of the training split has {half}; run `prepare`"
        )
    parts = {"source_train": train.take(slice(size)), "source_test": train.take(slice(size, end))}
    parts["target_train"] = thin(train.take(slice(half, None)), config.keep, seed=seed)
    parts["target_test"] = thin(test, config.keep, seed=seed)
    return parts


def thin(split: Split, keep: float, *, seed: int) -> Split:
    """Label shift: a share `keep` of the lower half of the classes, at random, and all of the others."""
    if keep == 1:
        return split
    middle = (int(split.labels.max()) + 1) / 2
    kept = np.random.default_rng(seed).random(len(split)) < keep
    return split.take(np.flatnonzero((split.labels >= middle) | kept))


def shift(train: Split, test: Split, config: ShiftConfig, *, seed: int) -> Shifted:
    """Divide and paint (`divide`)."""
    parts = divide(train, test, config, seed=seed)
    labels = {name: relabel(part.labels, config.ways) for name, part in parts.items()}
    published = None
    if config.draw == "published":
        source = len(labels["source_train"]) + len(labels["source_test"])
        published = PublishedDraw(source, len(parts["target_train"]), len(test))
    law = ColourLaw(config.ways, config.p, seed, published)
    colours = {name: law.source(name, labels[name]) for name in ("source_train", "source_test")}
    colours |= {name: law.target(name, len(parts[name])) for name in ("target_train", "target_test")}
    painted = {name: paint(part.images[:, 0], colours[name]) for name, part in parts.items()}
    unlabelled = painted.pop("target_train")
    labelled = {name: Split(images, labels[name]) for name, images in painted.items()}
    return Shifted(law, config.ways, labelled, unlabelled, colours)


def shift_to(train: Split, target: Mapping[str, Split], config: ShiftConfig, *, seed: int) -> Shifted:
    """Source splits as found, and another data set as the target: its `train` without labels, its `test`."""
    parts = divide(train, train.take(slice(0)), config, seed=seed)
    labelled = {name: parts[name] for name in ("source_train", "source_test")}
    labelled["target_test"] = thin(target["test"], config.keep, seed=seed)
    classes = int(train.labels.max()) + 1
    unlabelled = thin(target["train"], config.keep, seed=seed).images
    return Shifted(None, classes, labelled, unlabelled, {})


def relabel(labels: Int64[np.ndarray, " n"], ways: int) -> Int64[np.ndarray, " n"]:
    """The class itself, or for two ways whether it is below 5."""
    return labels if ways == 10 else (labels < 5).astype(np.int64)


def write_shifted(folder: Path, shifted: Shifted, *, card: Mapping[str, Any]) -> None:
    """Write the four splits, their colours and the card."""
    write_atomic(folder / "target_train.safetensors", save({"images": shifted.target_train}))
    write_atomic(folder / "colours.safetensors", save(dict(shifted.colours)))
    facts = {
        "colour_law": asdict(shifted.law) if shifted.law else None,
        "aligned_shares": shifted.aligned_shares(),
        "correlations": shifted.correlations(),
        "unlabelled_sizes": {"target_train": len(shifted.target_train)},
    }
    classes = shifted.classes
    write_prepared(folder, shifted.labelled, classes=classes, card={**card, **facts, "classes": classes})


def read_law(folder: Path) -> ColourLaw | None:
    """The law that made the files, so that fresh draws agree with them; None where nothing was painted."""
    card = read_card(folder)
    try:
        values = card["colour_law"]
        if values is None:
            return None
        published = PublishedDraw(**values["published"]) if values["published"] else None
        return ColourLaw(**{**values, "published": published})
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder}/card.json has no colour_law; run `dvc repro robust_shift`") from error


def read_classes(folder: Path) -> int:
    """Number of classes."""
    try:
        return int(read_card(folder)["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder}/card.json has no classes; run `dvc repro robust_shift`") from error


def read_repetition(
    folder: Path, name: str, repetition: int
) -> tuple[Split, Float32[np.ndarray, " n"] | None]:
    """A labelled split and its colours: the files themselves (0), or the same images in fresh colours.

    Where nothing was painted every repetition has the images of the files, and
    the colours are None unless the files have some.
    """
    split = read_split(folder, name)
    law = read_law(folder)
    if repetition == 0 or law is None:
        return split, _read_colours(folder).get(name)
    if name.startswith("source"):
        colour = law.source(name, split.labels, repetition)
    else:
        colour = law.target(name, len(split), repetition)
    return Split(repaint(split.images, colour), split.labels), colour


def read_unlabelled(folder: Path, name: str, repetition: int) -> UInt8[np.ndarray, "n channels height width"]:
    """Images of a target split, in the file's colours (0) or in fresh ones; labels are not read."""
    images = _read_array(folder / f"{name}.safetensors", "images")
    law = read_law(folder) if repetition else None
    return images if law is None else repaint(images, law.target(name, len(images), repetition))


def _read_colours(folder: Path) -> dict[str, NDArray[Any]]:
    path = folder / "colours.safetensors"
    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro robust_shift` to make it") from error
    except SafetensorError as error:
        raise DataError(f"{path} is broken ({error}); run `dvc repro -f robust_shift`") from error


def _read_array(path: Path, key: str) -> NDArray[Any]:
    try:
        return load(path.read_bytes())[key]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro robust_shift` to make it") from error
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{path} has no array {key!r} ({error}); run `dvc repro -f robust_shift`") from error
