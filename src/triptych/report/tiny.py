"""Figures of the architecture search."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from triptych.tiny.search import Candidate
from triptych.tiny.space import Survey


def macs_cdf(surveys: Sequence[Survey], chosen: Survey, path: Path) -> None:
    """Distribution of the MACs of the subnets that fit, one curve a space (MCUNet, figure 3)."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for each in surveys:
        if not each.macs:
            continue
        best = each is chosen
        height = np.arange(1, len(each.macs) + 1) / len(each.macs)
        space = each.space
        label = f"w{space.width_mult:g}-r{space.resolution}: {each.share:.0%} fit"
        style = {"color": "C3", "linewidth": 2.5, "zorder": 3} if best else {"linewidth": 1, "alpha": 0.7}
        axes.step(np.array(each.macs) / 1e6, height, where="post", label=label, **style)
    axes.axvline(chosen.mean_macs / 1e6, color="C3", linestyle=":", label="mean of the chosen space")
    axes.set(
        xlabel="MACs of the subnets that fit (millions)",
        ylabel="cumulative share",
        title=f"Chosen: width {chosen.space.width_mult:g}, resolution {chosen.space.resolution}",
        ylim=(0, 1),
    )
    if len(surveys) <= 16:
        axes.legend(fontsize="x-small", loc="lower right")
    figure.savefig(path, dpi=120)


def pareto(candidates: Sequence[Candidate], front: Sequence[Candidate], best: Candidate, path: Path) -> None:
    """Accuracy over MACs of every evaluated subnet, coloured by peak SRAM, and the best of each size."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    points = axes.scatter(
        [c.cost.macs / 1e6 for c in candidates],
        [c.accuracy for c in candidates],
        c=[c.cost.peak_sram / 1024 for c in candidates],
        s=18,
    )
    axes.plot(
        [c.cost.macs / 1e6 for c in front], [c.accuracy for c in front], "k-", lw=1, label="best of its size"
    )
    axes.plot(best.cost.macs / 1e6, best.accuracy, "r*", markersize=14, label="chosen")
    axes.set(
        xlabel="MACs (millions)",
        ylabel="validation accuracy",
        title=f"{len(candidates)} subnets evaluated, all within the board's limits",
    )
    figure.colorbar(points, label="peak SRAM of the network (KiB)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
