"""Figures of private synthesis."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from triptych.data.prepared import Split

EACH = 16  # images of a class in a grid
EDGE = 64  # grey of the lines between them


def sample_grid(split: Split, path: Path, *, title: str, each: int = EACH) -> None:
    """The first `each` images of every class, one row a class."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    show_grid(axes, split, each=each)
    axes.set(title=title, ylabel="label")
    figure.savefig(path, dpi=120)


def show_grid(axes: Axes, split: Split, *, each: int) -> None:
    """The first `each` images of every class, one row a class, on `axes`."""
    classes = np.unique(split.labels)
    rows = [_row(split.images[split.labels == label][:each], each) for label in classes]
    axes.imshow(np.concatenate(rows).squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    height = split.images.shape[2] + 1
    axes.set(xticks=[], yticks=height * (np.arange(len(classes)) + 0.5), yticklabels=classes)


def _row(
    images: UInt8[np.ndarray, "n channels height width"], each: int
) -> UInt8[np.ndarray, "height columns channels"]:
    """Images side by side; black where there are fewer than `each`."""
    n, channels, height, width = (each, *images.shape[1:])
    row = np.full((n, height + 1, width + 1, channels), EDGE, np.uint8)
    row[: len(images), :height, :width] = images.transpose(0, 2, 3, 1)
    return np.concatenate(list(row), axis=1)


def accuracy_bars(synthetic: np.ndarray, real: np.ndarray, path: Path) -> None:
    """Test accuracy by class of the classifiers trained on synthetic and on real images."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    classes = np.arange(len(real))
    axes.bar(classes - 0.2, synthetic, 0.38, label="trained on synthetic")
    axes.bar(classes + 0.2, real, 0.38, label="trained on real")
    axes.set(xlabel="class", ylabel="accuracy on real test images", xticks=classes, ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=120)
