"""The multirun that makes the table of self-training, at its smallest."""

import json
from pathlib import Path

import pytest

from tests.pipelines.conftest import Checkout, make_checkout

COMMAND = (
    "python",
    "-m",
    "pipelines.robust_table",
    "-m",
    "+sweep=robust_table",
    "experiment=smoke",
    "seed=0,1",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    clone = make_checkout(tmp_path_factory.mktemp("table"))
    clone.run(*COMMAND)
    return clone


def job(clone: Checkout, seed: int) -> Path:
    return clone.path / f"multirun/robust_table/smoke/{seed}"


def test_jobs_end_in_a_table_and_a_figure(clone: Checkout):
    """One row for the setting, both seeds in it, and each job's verdict and figures beside its metrics."""
    table = (clone.path / "multirun/robust_table/table.md").read_text()
    assert "| smoke | 2 |" in table
    assert (clone.path / "multirun/robust_table/table.png").stat().st_size > 5000
    assert {"trust.json", "examples.png", "run.json"} <= {path.name for path in job(clone, 0).iterdir()}
    first, second = (json.loads((job(clone, seed) / "metrics.json").read_text()) for seed in (0, 1))
    assert first["target_accuracy_before"] != second["target_accuracy_before"]


def test_what_is_there_is_not_run_again(clone: Checkout):
    """A table of hours that breaks off must go on where it was."""
    (job(clone, 0) / "metrics.json").write_text(
        (job(clone, 0) / "metrics.json").read_text().replace('"smoke"', '"kept"')
    )
    clone.run(*COMMAND)
    assert "| kept | 1 |" in (clone.path / "multirun/robust_table/table.md").read_text()
