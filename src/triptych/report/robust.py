"""Figures of self-training under a spurious colour."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from matplotlib.figure import Figure

from triptych.data.prepared import Split
from triptych.robust.diagnostics import LEAST, Groups
from triptych.robust.linear import descend, threshold, two_classes

GROUPS = {"aligned": "colour points to the label", "conflicting": "colour points elsewhere"}
DARK = 0.6  # accuracy below which a cell of the grid is too dark for black digits


def coloured_samples(source: Split, target: Split, path: Path, *, each: int = 6) -> None:
    """The first `each` images of every class, one row a class: source on the left, target on the right."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    for axes, name, split in zip(figure.subplots(1, 2), ("source", "target"), (source, target), strict=True):
        classes = np.unique(split.labels)
        rows = [_row(split.images[split.labels == label][:each], each) for label in classes]
        axes.imshow(np.concatenate(rows), interpolation="nearest")
        height = split.images.shape[2] + 1
        axes.set(title=name, xticks=[], yticks=height * (np.arange(len(classes)) + 0.5), yticklabels=classes)
    figure.supylabel("label")
    if source.images.shape[1] == 2:
        figure.suptitle("red is the share c of the image, cyan the share 1 - c")
    figure.savefig(path, dpi=120)


def _row(
    images: UInt8[np.ndarray, "n channels height width"], each: int
) -> UInt8[np.ndarray, "height columns 3"]:
    """Images side by side with a black line after each; black where there are too few.

    Grey, red and cyan, or in colour, by the number of channels.
    """
    height, width = images.shape[2:]
    row = np.zeros((each, height + 1, width + 1, 3), np.uint8)
    channels = {1: (0, 0, 0), 2: (0, 1, 1), 3: (0, 1, 2)}[images.shape[1]]
    row[: len(images), :-1, :-1] = images[:, channels].transpose(0, 2, 3, 1)
    return np.concatenate(list(row), axis=1)


def corrected_and_broken(
    split: Split,
    before: Int64[np.ndarray, " n"],
    after: Int64[np.ndarray, " n"],
    path: Path,
    *,
    each: int = 12,
) -> None:
    """The first `each` images that self-training corrected and that it broke, with both answers."""
    corrected = (before != split.labels) & (after == split.labels)
    broken = (before == split.labels) & (after != split.labels)
    figure = Figure(figsize=(0.9 * each, 4), layout="constrained")
    figure.suptitle(
        f"target: {corrected.sum()} corrected (above), {broken.sum()} broken (below) of {len(split)}; "
        "label: answer before → after"
    )
    for axes, chosen in zip(figure.subplots(2, each), (corrected, broken), strict=True):
        index = np.flatnonzero(chosen)[:each]
        for place in axes:
            place.axis("off")
        for place, i in zip(axes, index, strict=False):
            place.imshow(_row(split.images[i : i + 1], 1), interpolation="nearest")
            place.set_title(f"{split.labels[i]}: {before[i]} → {after[i]}", fontsize="small")
    figure.savefig(path, dpi=120)


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
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=120)


def group_grid(found: Mapping[str, Groups | None], path: Path) -> None:
    """Target accuracy by label and by the class that the colour points to, a panel an entry of `found`."""
    figure = Figure(figsize=(5.2 * len(found), 5.2), layout="constrained")
    for axes, (caption, groups) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        axes.set(title=f"accuracy on the target, {caption}")
        if groups is None:
            axes.text(0.5, 0.5, "no spurious feature is known", ha="center", transform=axes.transAxes)
            continue
        values = groups.accuracies()
        axes.imshow(values, vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                ink = "black" if value > DARK else "white"
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=ink)
        classes = range(len(values))
        axes.set(xticks=classes, yticks=classes, xlabel="class that the colour points to", ylabel="label")
    figure.supxlabel(f"% of the images of a group; blank: fewer than {LEAST} images", fontsize="small")
    figure.savefig(path, dpi=120)


def theory(path: Path) -> None:
    """The linear theory: where the spurious weight goes from five starts, and the threshold that decides.

    Two Gaussians with signal 1 ± 0.5 and a spurious axis 0 ± 1.5; the last start ignores the signal.
    """
    target = two_classes(np.array([1.0, 0.0]), np.array([0.5, 1.5]))
    figure = Figure(figsize=(9, 4), layout="constrained")
    weight, ratio = figure.subplots(1, 2)
    s = np.linspace(0.05, 2, 60)
    ratio.plot(s, [threshold(each) for each in s], "k-", label="threshold: above it the gradient shrinks w2")
    for angle in (15, 30, 40, 60, 90):
        w = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) if angle < 90 else np.eye(2)[1]
        steps = descend(target, w, steps=400, step_size=0.1)
        line = weight.plot(steps[:, 1], label=f"w2 = {w[1]:.2f} at the start")[0]
        m, sd = np.array([[each[0] for each in target.projections(step)] for step in steps]).T
        ratio.plot(sd, m / sd, color=line.get_color(), alpha=0.6)
        ratio.plot(sd[0], m[0] / sd[0], "o", color=line.get_color())
    weight.set(xlabel="step", ylabel="spurious weight w2", title="Entropy minimisation, linear classifier")
    weight.legend(fontsize="small")
    ratio.set(xlabel="s", ylabel="m / s", title="The same paths, from the dot onwards")
    ratio.legend(fontsize="small")
    figure.savefig(path, dpi=120)
