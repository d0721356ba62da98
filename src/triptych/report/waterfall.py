"""What each panel costs and gains on the chain, as one figure: from real data to the board.

The bars go from the classifier trained on real images, as float and without
self-training, over private samples and self-training, to int8 and training as
int8. Differences are taken within a seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from triptych.data.files import read_json

Job = Mapping[str, Any]
FLOAT, ROUNDED, INT8 = "subnet_accuracy", "post_training_accuracy", "int8_accuracy"


class Setting(NamedTuple):
    """Which jobs, and which of their accuracies."""

    source: str
    self_training: bool
    metric: str


WAY = {
    "trained on\nreal images": Setting("real", False, FLOAT),
    "private\nsamples": Setting("synthetic", False, FLOAT),
    "self-\ntraining": Setting("synthetic", True, FLOAT),
    "int8, post-\ntraining": Setting("synthetic", True, ROUNDED),
    "trained\nas int8": Setting("synthetic", True, INT8),
}
ABLATIONS = {
    "chain": Setting("synthetic", True, INT8),
    "real_instead_of_synthetic": Setting("real", True, INT8),
    "without_self_training": Setting("synthetic", False, INT8),
    "float_instead_of_int8": Setting("synthetic", True, FLOAT),
    "without_training_as_int8": Setting("synthetic", True, ROUNDED),
}


def read_jobs(folder: Path) -> list[Job]:
    """The metrics of every finished job of the sweep in `folder`."""
    return [read_json(path) for path in sorted(folder.glob("*/metrics.json"))]


def accuracies(jobs: Sequence[Job], setting: Setting) -> dict[int, float]:
    """Accuracy by seed of one setting."""
    return {
        job["seed"]: job[setting.metric]
        for job in jobs
        if (job["source"], job["self_training"]) == (setting.source, setting.self_training)
    }


def summarise(jobs: Sequence[Job]) -> dict[str, Any]:
    """Accuracy on the target of the chain and each ablation: mean, standard deviation over seeds, seeds."""
    table = {}
    for name, setting in ABLATIONS.items():
        values = list(accuracies(jobs, setting).values())
        if values:
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            table[name] = {"target_accuracy": float(np.mean(values)), "sd": sd, "seeds": len(values)}
    return table


def draw(jobs: Sequence[Job], path: Path) -> None:
    """The waterfall; nothing where a setting is missing."""
    steps = [accuracies(jobs, setting) for setting in WAY.values()]
    seeds = sorted(set.intersection(*(set(step) for step in steps)))
    if not seeds:
        return
    values = 100 * np.array([[step[seed] for seed in seeds] for step in steps])
    levels, changes = values.mean(axis=1), np.diff(values, axis=0)
    spread = changes.std(axis=1, ddof=1) if len(seeds) > 1 else np.zeros(len(changes))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    captions = [*WAY, "on the\nboard"]
    axes.bar([0, len(WAY)], [levels[0], levels[-1]], color=["C7", "C0"])
    for i, change in enumerate(changes.mean(axis=1), start=1):
        axes.bar(i, change, bottom=levels[i - 1], color="C2" if change >= 0 else "C3")
        axes.plot([i - 1.4, i + 0.4], [levels[i - 1]] * 2, "k:", linewidth=0.8)
        axes.annotate(
            f"{change:+.1f} ± {spread[i - 1]:.1f}", (i, max(levels[i - 1 : i + 1]) + 2), ha="center"
        )
    for i, level in ((0, levels[0]), (len(WAY), levels[-1])):
        axes.annotate(f"{level:.1f}", (i, level + 2), ha="center")
    axes.set_xticks(range(len(captions)), captions)
    axes.set(ylim=(0, 105), ylabel="accuracy on the target's test images (%)")
    axes.set_title(f"What each step costs and gains, mean over {len(seeds)} seeds")
    figure.savefig(path, dpi=120)
