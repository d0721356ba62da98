"""Figures of the architecture search."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from matplotlib.figure import Figure

from triptych.tiny.arch import SearchSpace
from triptych.tiny.cost import Cost
from triptych.tiny.front import best
from triptych.tiny.search import Candidate, pareto_front
from triptych.tiny.space import Survey

SIZES: tuple[tuple[str, float, Callable[[Cost], int]], ...] = (
    ("peak SRAM of the network (KiB)", 1024, lambda cost: cost.peak_sram),
    ("Flash of the network (KiB)", 1024, lambda cost: cost.flash),
    ("MACs (millions)", 1e6, lambda cost: cost.macs),
)
CURVES = 10  # spaces in a figure
LEVELS = 8  # of SRAM


def macs_cdf(exact: Sequence[Survey], sampled: Sequence[Survey], chosen: Survey, path: Path) -> None:
    """Distribution of the MACs of the subnets that fit, one colour a space (MCUNet, figure 3).

    Lines count all subnets, dots are samples; of many spaces the `CURVES` with the
    largest means are drawn.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    pairs = [pair for pair in zip(exact, sampled, strict=True) if pair[0].share > 0]
    pairs.sort(key=lambda pair: (pair[0].space == chosen.space, pair[0].mean_macs), reverse=True)
    for i, (each, sample) in enumerate(pairs[:CURVES]):
        best, color = each.space == chosen.space, f"C{i}"
        label = f"w{each.space.width_mult:g}-r{each.space.resolution}: {each.share:.1%} fit"
        axes.plot(each.macs / 1e6, each.heights, color, label=label, lw=2.5 if best else 1)
        some = slice(None, None, max(1, len(sample.macs) // 25))
        axes.plot(sample.macs[some] / 1e6, sample.heights[some], ".", color=color, markersize=4)
    axes.axvline(chosen.mean_macs / 1e6, color="C0", linestyle=":", label="mean of the chosen space")
    axes.set(
        xlabel="MACs of the subnets that fit (millions)",
        ylabel="cumulative share: all subnets (lines), a sample (dots)",
        title=f"Chosen: width {chosen.space.width_mult:g}, resolution {chosen.space.resolution}",
        ylim=(0, 1),
    )
    axes.legend(fontsize="x-small", loc="upper left")
    figure.savefig(path, dpi=120)


def macs_front(front: Int64[np.ndarray, "n 3"], space: SearchSpace, path: Path) -> None:
    """The most MACs for every Flash, one line a peak SRAM; no subnet of the space is above a line."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    levels = np.unique(front[:, 0])
    for level in levels[np.unique(np.linspace(0, len(levels) - 1, LEVELS).astype(int))]:
        flash, macs = best(front[front[:, 0] <= level][:, 1:]).T
        axes.step(flash / 1024, macs / 1e6, where="post", label=f"{level:,} B")
    axes.set(
        xlabel="Flash of the network (KiB)",
        ylabel="MACs (millions)",
        title=f"w{space.width_mult:g}-r{space.resolution}: the {len(front)} subnets that none beats",
    )
    axes.legend(title="peak SRAM at most", fontsize="x-small")
    figure.savefig(path, dpi=120)


def pareto(candidates: Sequence[Candidate], best: Candidate, path: Path) -> None:
    """Accuracy over peak SRAM, Flash and MACs of every evaluated subnet, and the best of each size."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, len(SIZES), sharey=True)
    for axes, (label, unit, size) in zip(panels, SIZES, strict=True):
        front = pareto_front(candidates, size)
        axes.scatter(
            [size(c.cost) / unit for c in candidates], [c.accuracy for c in candidates], s=9, alpha=0.5
        )
        x, y = [size(c.cost) / unit for c in front], [c.accuracy for c in front]
        axes.step(x, y, "k-", lw=1, where="post", label="best of its size")
        axes.plot(size(best.cost) / unit, best.accuracy, "r*", markersize=14, label="chosen")
        axes.set(xlabel=label)
    panels[0].set(ylabel="validation accuracy")
    panels[0].legend(loc="lower right", fontsize="small")
    figure.suptitle(f"{len(candidates)} subnets evaluated, all within the limits")
    figure.savefig(path, dpi=120)
