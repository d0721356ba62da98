"""The table of self-training over settings, objectives and seeds, from the jobs of a multirun."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from triptych.data.files import read_json

Job = Mapping[str, Any]
Candidate = tuple[str, tuple[str, ...], str]  # experiment, overrides, objective
KEYS = ("setting", "overrides", "objectives", "seed", "target_accuracy_before", "trust", "cpu_seconds")
SCORES = ("target_accuracy", "selection_score")  # of each objective
log = logging.getLogger(__name__)
PAPER = {  # arXiv 2006.10032, table 1: before and after in %
    "paper/cmnist": (82, 91),
    "paper/cmnist97": (72, 67),
    "paper/cmnist2": (94, 96),
}


@dataclass(frozen=True)
class Row:
    """One setting and objective: accuracies on the target in %, one entry a seed."""

    candidate: Candidate
    seeds: list[int]
    before: list[float]
    after: list[float]
    scores: list[float]  # selection scores in %, which need no label of the target
    trusted: list[bool]
    cpu_seconds: list[float]  # of the job, which may train several objectives

    @property
    def name(self) -> str:
        """Short: without the folders of keys."""
        setting, overrides, objective = self.candidate
        return " ".join([setting, *(each.rsplit(".", 1)[-1] for each in overrides), objective])


def read_jobs(folder: Path) -> list[Job]:
    """The metrics of every job below `folder` that has finished, in the order of their names.

    Jobs that another version wrote are left out, with a warning that names them.
    """
    found = ((path, read_json(path)) for path in sorted(folder.rglob("metrics.json")))
    jobs = [(path, job) for path, job in found if "setting" in job]
    for path, job in jobs:
        if missing := _missing(job):
            log.warning(
                f"{path} is left out: another version wrote it, without {missing[0]}; run that job again"
            )
    return [job for _, job in jobs if not _missing(job)]


def _missing(job: Job) -> list[str]:
    """What a row needs and `job` has not."""
    each = (f"{name}_{objective}" for objective in job.get("objectives", ()) for name in SCORES)
    return [name for name in (*KEYS, *each) if name not in job]


def rows(jobs: Sequence[Job]) -> list[Row]:
    """One row a setting and objective, its seeds in order."""
    grouped: dict[Candidate, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: (job["setting"], job["overrides"], job["seed"])):
        for objective in job["objectives"]:
            grouped.setdefault((job["setting"], tuple(job["overrides"]), objective), []).append(job)
    return [
        Row(
            candidate,
            [job["seed"] for job in mine],
            [100 * job["target_accuracy_before"] for job in mine],
            [100 * job[f"target_accuracy_{candidate[2]}"] for job in mine],
            [100 * job[f"selection_score_{candidate[2]}"] for job in mine],
            [bool(job["trust"]) for job in mine],
            [job["cpu_seconds"] for job in mine],
        )
        for candidate, mine in grouped.items()
    ]


def choose(jobs: Sequence[Job]) -> Candidate:
    """The setting and objective with the highest selection score, mean over seeds; the first of several."""
    return max(rows(jobs), key=lambda row: np.mean(row.scores)).candidate


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation, one decimal."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def markdown(jobs: Sequence[Job]) -> str:
    """The table; where the paper has the setting, its numbers and the published draw (seed 0) beside it."""
    lines = [
        "| setting | seeds | source only | after | score | better | verdict right | seed 0 | paper | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows(jobs):
        better = [after > before for before, after in zip(row.before, row.after, strict=True)]
        right = sum(a == b for a, b in zip(better, row.trusted, strict=True))
        size = len(row.seeds)
        first = f"{row.before[0]:.1f} → {row.after[0]:.1f}" if row.seeds[0] == 0 else ""
        setting = row.candidate[0]
        paper = "{} → {}".format(*PAPER[setting]) if setting in PAPER else ""
        cells = (row.name, size, spread(row.before), spread(row.after), spread(row.scores))
        more = (f"{sum(better)} of {size}", f"{right} of {size}", first, paper)
        lines.append("| " + " | ".join(map(str, (*cells, *more, f"{np.mean(row.cpu_seconds):.0f}"))) + " |")
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
        if row.candidate[0] in PAPER:
            axes.plot(PAPER[row.candidate[0]], [index, index], "bx")
    axes.set(
        yticks=range(len(table)),
        yticklabels=[row.name for row in table],
        ylim=(len(table) - 0.5, -0.5),
        xlabel="target accuracy in %, from source only to after; crosses: the paper",
    )
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
