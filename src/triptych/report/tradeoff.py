"""Curves of utility against one cause: a line joins runs that differ in that cause alone."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from triptych.report.rivals import COLUMNS, Run

METRICS = ("downstream_cnn_accuracy", "fid_reference")


@dataclass(frozen=True)
class Cause:
    """What a panel varies: its value in a run, and what its lines hold fixed."""

    name: str
    value: Callable[[Run], float]
    fixed: str
    held: Callable[[Run], float]
    marks_epsilon: bool = True  # beside the points; else it is the axis


def _epsilon(run: Run) -> float:
    return run.metrics["epsilon"]


CAUSES = (
    Cause("iterations", lambda run: run.steps, "noise", lambda run: run.noise),
    Cause("noise multiplier", lambda run: run.noise, "iterations", lambda run: run.steps),
    Cause("epsilon, noise varied", _epsilon, "iterations", lambda run: run.steps, marks_epsilon=False),
)
FREE = {
    "seed",
    "private.steps",
    "private.noise_multiplier",
    "private.epsilon_budget",
}


@dataclass(frozen=True)
class Line:
    """Runs of one method that differ in the cause, and in the seed, alone."""

    label: str
    method: str
    runs: tuple[Run, ...]

    def points(self, cause: Cause, measure: Callable[[Run], float]) -> list[tuple[float, float]]:
        """Each value of the cause with the mean over its seeds, in order."""
        by_value = defaultdict(list)
        for run in self.runs:
            by_value[cause.value(run)].append(measure(run))
        return [(value, mean(by_value[value])) for value in sorted(by_value)]


def lines(runs: Iterable[Run], cause: Cause) -> list[Line]:
    """The lines of one panel; runs that have no partner are in none."""
    alike = defaultdict(list)
    for run in runs:
        rest = {key: value for key, value in run.settings.items() if key not in FREE}
        alike[run.method, cause.held(run), json.dumps(rest, sort_keys=True)].append(run)
    return [
        Line(f"{method}, {cause.fixed} {held:g}", method, tuple(group))
        for (method, held, _), group in sorted(alike.items())
        if len({cause.value(run) for run in group}) > 1
    ]


def draw(runs: Sequence[Run], path: Path) -> None:
    """Utility over iterations at fixed noise, over noise at fixed iterations, and over the epsilon of these.

    Dots are seeds, lines their means; small numbers are epsilons.
    """
    figure = Figure(figsize=(4.4 * len(CAUSES), 3.2 * len(METRICS)), layout="constrained")
    panels = figure.subplots(len(METRICS), len(CAUSES), sharex="col", sharey="row")
    colours = {method: f"C{index}" for index, method in enumerate(sorted({run.method for run in runs}))}
    for column, cause in zip(panels.T, CAUSES, strict=True):
        found = lines(runs, cause)
        for axes, metric in zip(column, METRICS, strict=True):
            for line in found:
                _draw(axes, line, cause, metric, colours[line.method])
            axes.set(ylabel=COLUMNS[metric][0])
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.label_outer()
        column[-1].set_xlabel(cause.name)
        if found:
            column[0].legend(fontsize=8)
        else:
            column[0].set_title("no two runs differ in this alone", fontsize=9)
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, line: Line, cause: Cause, metric: str, colour: str) -> None:
    values = [cause.value(run) for run in line.runs]
    axes.plot(values, [run.metrics[metric] for run in line.runs], ".", color=colour, alpha=0.5)
    points = line.points(cause, lambda run: run.metrics[metric])
    axes.plot(*zip(*points, strict=True), color=colour, label=line.label)
    if cause.marks_epsilon:
        epsilons = line.points(cause, _epsilon)
        for place, (_, epsilon) in zip(points, epsilons, strict=True):
            axes.annotate(
                f"{epsilon:.2g}",
                place,
                xytext=(2, 3),
                textcoords="offset points",
                fontsize=6,
                color=colour,
            )
