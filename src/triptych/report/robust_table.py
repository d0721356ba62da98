"""The table of self-training over settings and seeds, from the jobs of a multirun."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from triptych.data.files import read_json

Job = Mapping[str, Any]
PAPER = {  # arXiv 2006.10032, table 1: before and after in %
    "paper/cmnist": (82, 91),
    "paper/cmnist97": (72, 67),
    "paper/cmnist2": (94, 96),
}


@dataclass(frozen=True)
class Row:
    """One setting: accuracies on the target in %, one entry a seed."""

    setting: str
    seeds: list[int]
    before: list[float]
    after: list[float]
    trusted: list[bool]
    cpu_seconds: list[float]


def read_jobs(folder: Path) -> list[Job]:
    """The metrics of every job below `folder` that has finished, in the order of their names."""
    found = (read_json(path) for path in sorted(folder.rglob("metrics.json")))
    return [job for job in found if "setting" in job]


def rows(jobs: Sequence[Job]) -> list[Row]:
    """One row a setting, its seeds in order."""
    result = []
    for setting in sorted({job["setting"] for job in jobs}):
        mine = sorted((job for job in jobs if job["setting"] == setting), key=lambda job: job["seed"])
        result.append(
            Row(
                setting,
                [job["seed"] for job in mine],
                [100 * job["target_accuracy_before"] for job in mine],
                [100 * job["target_accuracy"] for job in mine],
                [bool(job["trust"]) for job in mine],
                [job["cpu_seconds"] for job in mine],
            )
        )
    return result


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation, one decimal."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def markdown(jobs: Sequence[Job]) -> str:
    """The table; where the paper has the setting, its numbers and the published draw (seed 0) beside it."""
    lines = [
        "| setting | seeds | source only | after | of them better | verdict right | seed 0 | paper | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows(jobs):
        better = [after > before for before, after in zip(row.before, row.after, strict=True)]
        right = sum(a == b for a, b in zip(better, row.trusted, strict=True))
        size = len(row.seeds)
        first = f"{row.before[0]:.1f} → {row.after[0]:.1f}" if row.seeds[0] == 0 else ""
        paper = "{} → {}".format(*PAPER[row.setting]) if row.setting in PAPER else ""
        cells = (row.setting, size, spread(row.before), spread(row.after), f"{sum(better)} of {size}")
        more = (f"{right} of {size}", first, paper, f"{np.mean(row.cpu_seconds):.0f}")
        lines.append("| " + " | ".join(map(str, (*cells, *more))) + " |")
    return "\n".join(lines) + "\n"


def draw(jobs: Sequence[Job], path: Path) -> None:
    """An arrow a seed from source only to after, a row a setting; crosses are the paper's numbers."""
    table = rows(jobs)
    figure = Figure(figsize=(8, 1 + 0.55 * len(table)), layout="constrained")
    axes = figure.subplots()
    for index, row in enumerate(table):
        offsets = np.linspace(-0.25, 0.25, len(row.seeds))
        for offset, before, after in zip(offsets, row.before, row.after, strict=True):
            colour = "tab:green" if after > before else "tab:red"
            axes.annotate(
                "",
                (after, index + offset),
                (before, index + offset),
                arrowprops={"arrowstyle": "->", "color": colour},
            )
        axes.plot(row.before + row.after, [*(index + offsets), *(index + offsets)], "k.", markersize=2)
        if row.setting in PAPER:
            axes.plot(PAPER[row.setting], [index, index], "bx")
    axes.set(
        yticks=range(len(table)),
        yticklabels=[row.setting for row in table],
        ylim=(len(table) - 0.5, -0.5),
        xlabel="accuracy on the target in %, from source only to after self-training; x: the paper's table",
    )
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
