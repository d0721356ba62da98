"""The engine's ablation: what each of its ideas is worth, as two rows of bars."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

FULL = "all of it"


def ablation_chart(title: str, instructions: Mapping[str, int], arena: Mapping[str, int], path: Path) -> None:
    """Bars of instructions and of bytes, each with one idea switched off; the first row is `FULL`."""
    rows = len(instructions), len(arena)
    figure = Figure(figsize=(8, 2 + 0.32 * sum(rows)), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=rows)
    _bars(
        upper, {name: count / 1e6 for name, count in instructions.items()}, "million instructions", "{:.2f}"
    )
    _bars(lower, {name: size / 1000 for name, size in arena.items()}, "kB of arena", "{:.1f}")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _bars(axes: Axes, values: Mapping[str, float], unit: str, form: str) -> None:
    full = values[FULL]
    names = list(values)
    colours = ["C2" if name == FULL else "C0" for name in names]
    axes.barh(names, list(values.values()), color=colours)
    for row, value in enumerate(values.values()):
        factor = "" if row == 0 else f"  {value / full:.2f}x"
        axes.annotate(
            form.format(value) + factor, (value, row), (4, 0), textcoords="offset points", va="center"
        )
    axes.invert_yaxis()
    axes.set(xlabel=unit, xlim=(0, 1.2 * max(values.values())))
    axes.spines[["top", "right"]].set_visible(False)
