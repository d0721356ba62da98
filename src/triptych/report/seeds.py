"""How far the numbers of the table move from seed to seed: what repeated runs left in `multirun/`."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from triptych.report.waterfall import ABLATIONS, accuracies, read_jobs

SWEEP, ABLATION = "multirun/seeds", "multirun/hinge_ablation"
Values = Mapping[str, Sequence[float]]


def repeated(root: Path) -> Values:
    """The values of every metric over the seeds that were run; nothing where none were.

    Those of `+sweep=seeds` under their names, the chain's accuracy as `chain`.
    """
    values: dict[str, list[float]] = {}
    table = root / SWEEP / "sweep.csv"
    if table.exists():
        with table.open(newline="") as handle:
            for row in csv.DictReader(handle):
                for name, value in row.items():
                    values.setdefault(name, []).append(float(value))
    chain = accuracies(read_jobs(root / ABLATION), ABLATIONS["chain"])
    return {**values, "chain": list(chain.values())}


def spread(values: Sequence[float], form: str) -> str:
    """Mean ± sample standard deviation and how many, each number in the `form` of a format string."""
    if len(values) < 2:
        return ""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}, {len(values)} seeds"
