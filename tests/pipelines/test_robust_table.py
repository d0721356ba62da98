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
    assert "| smoke pseudo_label | 2 |" in table
    assert (clone.path / "multirun/robust_table/table.png").stat().st_size > 5000
    assert {"trust.json", "examples.png", "run.json"} <= {path.name for path in job(clone, 0).iterdir()}
    choice = json.loads((clone.path / "multirun/robust_table/choice.json").read_text())
    assert choice[0] == "experiment=smoke"
    assert choice[1] in ("robust.objective=pseudo_label", "robust.objective=entropy")
    first, second = (json.loads((job(clone, seed) / "metrics.json").read_text()) for seed in (0, 1))
    assert first["target_accuracy_before"] != second["target_accuracy_before"]


def test_verdicts_of_the_same_jobs_are_counted_against_their_outcomes(clone: Checkout):
    """The other table of the command; the jobs are there, so nothing is trained. Two repetitions each."""
    folder = clone.path / "multirun/robust_table"
    where = ("hydra.sweep.dir=multirun/robust_table", "hydra.sweep.subdir=smoke/${seed}")
    command = ["+sweep=robust_verdict" if each.startswith("+sweep") else each for each in COMMAND]
    clone.run(*command, "robust.shift.p=0.95", *where)
    assert " of 4 |" in (folder / "verdicts.md").read_text()
    assert (folder / "verdicts.png").stat().st_size > 5000


def test_what_is_there_is_not_run_again(clone: Checkout):
    """A table of hours that breaks off must go on where it was."""
    (job(clone, 0) / "metrics.json").write_text(
        (job(clone, 0) / "metrics.json").read_text().replace('"smoke"', '"kept"')
    )
    clone.run(*COMMAND)
    assert "| kept pseudo_label | 1 |" in (clone.path / "multirun/robust_table/table.md").read_text()
