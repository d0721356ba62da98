"""Figures of self-training under a spurious colour."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from triptych.data.prepared import Split

GROUPS = {"aligned": "colour points to the label", "conflicting": "colour points elsewhere"}


def coloured_samples(source: Split, target: Split, path: Path, *, each: int = 6) -> None:
    """The first `each` images of every class, one row a class: source on the left, target on the right."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    for axes, name, split in zip(figure.subplots(1, 2), ("source", "target"), (source, target), strict=True):
        classes = np.unique(split.labels)
        rows = [_row(split.images[split.labels == label][:each], each) for label in classes]
        axes.imshow(np.concatenate(rows), interpolation="nearest")
        height = split.images.shape[2]
        axes.set(title=name, xticks=[], yticks=height * (np.arange(len(classes)) + 0.5), yticklabels=classes)
    figure.supylabel("label")
    figure.suptitle("red is the share c of the image, cyan the share 1 - c")
    figure.savefig(path, dpi=120)


def _row(images: UInt8[np.ndarray, "n 2 height width"], each: int) -> UInt8[np.ndarray, "height columns 3"]:
    """Images side by side, red and cyan; black where there are fewer than `each`."""
    row = np.zeros((each, *images.shape[2:], 3), np.uint8)
    row[: len(images), :, :, 0] = images[:, 0]
    row[: len(images), :, :, 1:] = images[:, 1, :, :, None]
    return np.concatenate(list(row), axis=1)


def group_accuracies(metrics: Mapping[str, float], stages: Mapping[str, str], path: Path) -> None:
    """Target accuracy by group, one cluster of bars for each entry of `stages`, with standard deviations.

    `stages` maps the suffix of a metric (`accuracy_group_<group><suffix>`) to its caption.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    middle = np.arange(len(stages))
    for shift, (group, label) in zip((-0.2, 0.2), GROUPS.items(), strict=True):
        names = [f"accuracy_group_{group}{suffix}" for suffix in stages]
        heights = [metrics.get(name, 0.0) for name in names]
        errors = [metrics.get(f"{name}_sd", 0.0) for name in names]
        bars = axes.bar(middle + shift, heights, 0.38, yerr=errors, capsize=3, label=label)
        axes.bar_label(bars, fmt="%.3f", label_type="center", color="white")
    axes.set(
        xticks=middle,
        xticklabels=list(stages.values()),
        ylim=(0, 1),
        ylabel="accuracy on the target",
        title="Who is right when the colour misleads",
    )
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
