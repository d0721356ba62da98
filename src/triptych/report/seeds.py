"""How far the numbers of the table move from seed to seed: what repeated runs left in `multirun/`."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

SWEEPS = {"seeds": "", "chain_seeds": "chain_"}  # of conf/sweep, and what their metrics are called here
Values = Mapping[str, Sequence[float]]


def repeated(root: Path) -> Values:
    """The values of every metric over the seeds that were run; nothing where none were.

    Those of the chain begin with `chain_`.
    """
    values: dict[str, list[float]] = {}
    for sweep, prefix in SWEEPS.items():
        table = root / "multirun" / sweep / "sweep.csv"
        if table.exists():
            with table.open(newline="") as handle:
                for row in csv.DictReader(handle):
                    for name, value in row.items():
                        values.setdefault(prefix + name, []).append(float(value))
    return values


def spread(values: Sequence[float], form: str) -> str:
    """Mean ± sample standard deviation and how many, each number in the `form` of a format string."""
    if len(values) < 2:
        return ""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}, {len(values)} seeds"
