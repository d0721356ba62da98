"""All methods side by side: table and sample grids of a folder of runs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from triptych.config.private import METHODS
from triptych.data.files import read_json, write_atomic
from triptych.data.prepared import Split, read_split
from triptych.errors import DataError
from triptych.report.private import show_grid

COLUMNS = {  # metric: heading and format
    "epsilon": ("epsilon", ".4g"),
    "inception_score": ("IS", ".2f"),
    "fid_reference": ("FID, reference features", ".1f"),
    "downstream_mlp_accuracy": ("MLP", ".3f"),
    "downstream_cnn_accuracy": ("CNN", ".3f"),
    "downstream_avg_accuracy": ("Avg", ".3f"),
    "calibrated_accuracy": ("Calibrated", ".1%"),
    "label_agreement": ("label agreement", ".3f"),
}
REAL = {
    "inception_score": "real_inception_score",
    "fid_reference": "real_fid_reference",
    "downstream_mlp_accuracy": "real_mlp_accuracy",
    "downstream_cnn_accuracy": "real_cnn_accuracy",
    "downstream_avg_accuracy": "real_avg_accuracy",
}


@dataclass(frozen=True)
class Run:
    """One method, trained, sampled and scored."""

    folder: Path
    data: str
    method: str
    budget: float
    seed: int
    metrics: Mapping[str, Any]  # of training and evaluation together
    settings: Mapping[str, Any]  # of the training; under `private.`, the method's own stand for GS-WGAN's

    @property
    def steps(self) -> int:
        """Planned iterations of the generator (in DP-SGD GAN of its discriminator); rounds if federated."""
        return self.settings["private.steps"]

    @property
    def noise(self) -> float:
        """The noise multiplier that was used, whether chosen or calibrated."""
        return self.metrics["noise_multiplier"]

    @property
    def samples(self) -> Split:
        """What it generated."""
        return read_split(self.folder / "out/private/synthetic", "train")


def read_runs(folder: Path) -> list[Run]:
    """The complete runs below `folder`, by data, budget, method and seed. Raises DataError without any."""
    runs = [_read(path.parents[3]) for path in folder.rglob("out/private/evaluate/run.json")]
    if not runs:
        raise DataError(
            f"{folder} holds no complete run of pipelines.private_compare; run one, with -m for several"
        )
    return sorted(runs, key=lambda run: (run.data, -run.budget, run.method, run.seed, run.folder))


def _read(folder: Path) -> Run:
    config = read_json(folder / "out/private/train/run.json")["config"]
    parts = [read_json(folder / f"out/private/{stage}/metrics.json") for stage in ("train", "evaluate")]
    drawn = read_json(folder / "out/private/synthetic/run.json")["config"]
    return Run(
        folder,
        drawn["data.name"],
        config["private.method"],
        config["private.epsilon_budget"],
        config["seed"],
        {**parts[0], **parts[1]},
        _settings(config),
    )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the method of a training reads of its config, steps and noise of all methods under one name."""
    others = {f"private.{method}" for method in METHODS}
    own = config.get(f"private.{config['private.method']}", {})
    shared = {key: value for key, value in config.items() if key not in others}
    return shared | {f"private.{key}": value for key, value in own.items()}


def write_table(runs: Sequence[Run], path: Path) -> None:
    """Every run with every number, as CSV."""
    names = sorted({name for run in runs for name in run.metrics})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "method", "epsilon_budget", "seed", *names])
    for run in runs:
        writer.writerow(
            [run.data, run.method, run.budget, run.seed, *(run.metrics.get(name, "") for name in names)]
        )
    write_atomic(path, text.getvalue().encode())


def by_data(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each data set."""
    return {name: list(group) for name, group in groupby(runs, key=lambda run: run.data)}


def markdown(runs: Sequence[Run]) -> str:
    """The table of the paper for each data set: mean and standard deviation over seeds, and real images."""
    return "\n".join(f"{data}\n\n{_table(group)}" for data, group in by_data(runs).items())


def _table(runs: Sequence[Run]) -> str:
    headings = ["method", "budget", "seeds", "iterations", "noise"]
    lines = [[*headings, *(heading for heading, _ in COLUMNS.values())]]
    real = {name: runs[0].metrics[key] for name, key in REAL.items()}
    lines.append(["real images", *[""] * (len(headings) - 1), *(_cell([real], name) for name in COLUMNS)])
    for _, group in groupby(sorted(runs, key=_setting), key=_setting):
        same = list(group)
        first, seeds = same[0], ", ".join(str(run.seed) for run in same)
        cells = [_cell([run.metrics for run in same], name) for name in COLUMNS]
        chosen = [first.method, f"{first.budget:g}", seeds, str(first.steps), f"{first.noise:.4g}"]
        lines.append([*chosen, *cells])
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]]) + "\n"


def _setting(run: Run) -> tuple[Any, ...]:
    """What runs of one row, which differ in the seed alone, have in common; rows are in its order."""
    rest = {key: value for key, value in run.settings.items() if key != "seed"}
    return (-run.budget, run.method, run.steps, run.noise, json.dumps(rest, sort_keys=True))


def _cell(seeds: Sequence[Mapping[str, Any]], name: str) -> str:
    values, form = [metrics[name] for metrics in seeds if name in metrics], COLUMNS[name][1]
    spread = f" ± {format(stdev(values), form)}" if len(values) > 1 else ""
    return format(mean(values), form) + spread if values else ""


def grids(runs: Sequence[Run], path: Path, *, each: int = 8) -> None:
    """Samples of every method side by side, one row a budget (the paper's Figure 3); first seeds only."""
    budgets = sorted({run.budget for run in runs}, reverse=True)
    methods = sorted({run.method for run in runs})
    figure = Figure(figsize=(2.6 * len(methods), 3.4 * len(budgets)), layout="constrained")
    axes = figure.subplots(len(budgets), len(methods), squeeze=False)
    for row, budget in zip(axes, budgets, strict=True):
        for cell, method in zip(row, methods, strict=True):
            found = [run for run in runs if (run.method, run.budget) == (method, budget)]
            _grid(cell, found[0] if found else None, f"{method}, epsilon {budget:g}", each)
    figure.savefig(path, dpi=120)


def _grid(axes: Axes, run: Run | None, title: str, each: int) -> None:
    axes.set_title(title, fontsize=9)
    if run is None:
        axes.axis("off")
    else:
        show_grid(axes, run.samples, each=each)
