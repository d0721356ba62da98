"""Searched subnets against scaled-down networks over tasks and seeds, from the jobs of a multirun."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from triptych.data.files import read_json
from triptych.report.robust_table import spread

Job = Mapping[str, Any]
NAMES = {"searched": "searched", "mobilenetv2": "MobileNetV2", "proxylessnas": "ProxylessNAS"}


def read_jobs(folder: Path) -> list[Job]:
    """The comparison of every job below `folder` that has finished, in the order of their names."""
    return [read_json(path) for path in sorted(folder.rglob("comparison.json"))]


def by_setting(jobs: Sequence[Job]) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """The rows of each network, one a seed, by setting."""
    return {
        setting: {
            name: [job["networks"][name] for job in jobs if job["setting"] == setting] for name in NAMES
        }
        for setting in sorted({job["setting"] for job in jobs})
    }


def memory_use(row: Mapping[str, Any]) -> float:
    """Mean bytes of a block, as a share of the largest: 1 where every block uses what the first needs."""
    return float(np.mean(row["block_sram"]) / max(row["block_sram"]))


def markdown(jobs: Sequence[Job]) -> str:
    """Mean ± sample standard deviation over seeds, in % where no unit is given."""
    lines = [
        "| task | network | seeds | accuracy | int8 | arena, bytes | Flash, bytes | MACs, M | memory use |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for setting, networks in by_setting(jobs).items():
        for name, rows in networks.items():
            cells = [
                setting,
                f"{NAMES[name]}, {_sizes(rows)}",
                len(rows),
                spread([100 * row["accuracy"] for row in rows]),
                spread([100 * row["int8_accuracy"] for row in rows]),
                _range([row["peak_sram_predicted"] for row in rows]),
                _range([row["flash_predicted"] for row in rows]),
                spread([row["macs"] / 1e6 for row in rows]),
                spread([100 * memory_use(row) for row in rows]),
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def draw(jobs: Sequence[Job], path: Path) -> None:
    """Accuracy as int8 of each network, a panel a task; bars are means, dots are seeds."""
    table = by_setting(jobs)
    figure = Figure(figsize=(2.6 * len(table) + 0.6, 3.6), layout="constrained")
    panels = figure.subplots(1, len(table), squeeze=False)[0]
    for axes, (setting, networks) in zip(panels, table.items(), strict=True):
        lowest = 100.0
        for i, rows in enumerate(networks.values()):
            values = [100 * row["int8_accuracy"] for row in rows]
            axes.bar(i, np.mean(values), color=f"C{i}", alpha=0.6)
            axes.plot([i] * len(values), values, "k.")
            lowest = min(lowest, *values)
        axes.set(title=setting, xticks=range(len(NAMES)), ylim=(max(0, lowest - 5), None))
        axes.set_xticklabels(NAMES.values(), rotation=20, fontsize="small")
    panels[0].set(ylabel="test accuracy as int8, %")
    limits = {(job["sram"], job["flash"]) for job in jobs}
    within = ", ".join(f"{sram:,} B SRAM, {flash:,} B Flash" for sram, flash in limits)
    figure.suptitle(f"within {within}", fontsize="medium")
    figure.savefig(path, dpi=120)


def draw_blocks(jobs: Sequence[Job], path: Path) -> None:
    """Bytes of every block as a share of the SRAM limit, first seed; a row a network (MCUNet, figure 6).

    A network uses its board well where the bars are even: one high bar decides
    the width and resolution of all others.
    """
    firsts = {setting: next(j for j in jobs if j["setting"] == setting) for setting in by_setting(jobs)}
    figure = Figure(figsize=(3.3 * len(firsts), 2 * len(NAMES)), layout="constrained")
    panels = figure.subplots(len(NAMES), len(firsts), sharey=True, squeeze=False)
    for column, (setting, job) in zip(panels.T, firsts.items(), strict=True):
        for axes, (name, label) in zip(column, NAMES.items(), strict=True):
            row = job["networks"][name]
            axes.bar(range(len(row["block_sram"])), 100 * np.array(row["block_sram"]) / job["sram"])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.axhline(100, color="C3", linestyle=":")
            size = f"w{row['width_mult']:g}-r{row['resolution']}"
            title = f"{setting}\n{label}, {size}: mean {memory_use(row):.0%} of peak"
            axes.set_title(title, fontsize="x-small")
        column[-1].set(xlabel="block, in order")
    for axes in panels[:, 0]:
        axes.set(ylabel="% of the SRAM limit")
    figure.savefig(path, dpi=120)


def _sizes(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({f"w{row['width_mult']:g}-r{row['resolution']}" for row in rows}))


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
