"""The whole pipeline at its smallest size, run as a user runs it.

The tests of this file share one clone and build on each other in order.
"""

import json
import re

import pytest
import yaml
from mlflow import MlflowClient

from tests.pipelines.conftest import Checkout


@pytest.fixture(scope="module")
def repro(checkout: Checkout) -> str:
    """What `dvc repro` prints in a fresh clone."""
    return checkout.run("dvc", "repro").stdout


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def runs(checkout: Checkout, store: str = "mlflow.db") -> list[str]:
    """Stage of every run in the store."""
    client = MlflowClient(f"sqlite:///{checkout.path}/{store}")
    return sorted(run.data.tags["triptych.stage"] for run in client.search_runs(["1"]))


def stages(checkout: Checkout) -> set[str]:
    names = set(yaml.safe_load((checkout.path / "dvc.yaml").read_text())["stages"])
    return names - {"compose"}


def test_fresh_clone_reproduces_everything(checkout: Checkout, repro: str):
    """One command from a clone to firmware."""
    assert stages(checkout) <= ran(repro)
    assert (checkout.path / "out/tiny/generate/firmware/model.c").exists()
    assert (checkout.path / "out/private/train/certificate.json").exists()


def test_table_names_every_result(checkout: Checkout, repro: str):
    """What people see at the end of `make repro`."""
    table = checkout.run("python", "-m", "pipelines.summary").stdout
    for words in ("epsilon", "inception score", "FID", "target accuracy", "subnet accuracy", "peak SRAM"):
        assert words in table
    assert "make dashboard" in table


def test_every_stage_is_one_finished_run(checkout: Checkout, repro: str):
    """The dashboard shows the pipeline, each stage once."""
    assert runs(checkout) == sorted(stages(checkout))
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    assert {run.info.status for run in client.search_runs(["1"])} == {"FINISHED"}


def test_figures_are_artifacts(checkout: Checkout, repro: str):
    """Pictures are where people look."""
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    (run,) = client.search_runs(["1"], "tags.`triptych.stage` = 'private_sample'")
    assert [a.path for a in client.list_artifacts(run.info.run_id, "figures")] == ["figures/samples.png"]


def test_private_curves_stay_out_of_the_store(checkout: Checkout, repro: str):
    """Losses on private data are not covered by epsilon."""
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    (run,) = client.search_runs(["1"], "tags.`triptych.stage` = 'private_warm_start'")
    metrics = json.loads((checkout.path / "out/private/warm_start/metrics.json").read_text())
    assert set(run.data.metrics) <= set(metrics)


def test_second_repro_runs_nothing(checkout: Checkout, repro: str):
    """Unchanged work is not repeated."""
    assert "up to date" in checkout.run("dvc", "repro").stdout


def test_plots_can_be_drawn(checkout: Checkout, repro: str):
    """`dvc plots` reads the curves that the stages declare."""
    assert "index.html" in checkout.run("dvc", "plots", "show").stdout


def test_noise_reruns_what_depends_on_it_and_nothing_else(checkout: Checkout, repro: str):
    """Stages depend on the keys they use: not the warm start, not the other panels."""
    author = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    checkout.run("git", "add", "--all")
    checkout.run("git", *author, "commit", "--quiet", "--message", "Results")
    override = "overrides.yaml:private=['private.noise_multiplier=4']"
    output = checkout.run("dvc", "exp", "run", "--set-param", override).stdout
    changed = ran(output)
    assert changed == {"compose@private", "private_train", "private_sample", "private_evaluate"}
    table = checkout.run("dvc", "metrics", "diff", "--json").stdout
    train = json.loads(table)["out/private/train/metrics.json"]
    assert train["epsilon"]["new"] < train["epsilon"]["old"]
    assert train["noise_multiplier"]["new"] == 4


def test_cache_hit_shows_the_existing_run(checkout: Checkout, repro: str):
    """Going back restores results without a new run in the store."""
    before = runs(checkout)
    assert len(before) == len(stages(checkout)) + 3
    checkout.override()
    assert "private_train" not in ran(checkout.run("dvc", "repro").stdout)
    checkout.run("python", "-m", "pipelines.sync")
    assert runs(checkout) == before


def test_empty_store_is_filled_from_the_results(checkout: Checkout, repro: str):
    """The files are the truth; MLflow is their picture."""
    checkout.run("python", "-m", "pipelines.sync", "tracking.uri=sqlite:///fresh.db")
    assert runs(checkout, "fresh.db") == sorted(stages(checkout))


def test_multirun_sweeps_through_joblib(checkout: Checkout, repro: str):
    """A person sweeps a stage without DVC, two jobs at a time."""
    output = checkout.run(
        "python", "-m", "pipelines.private_train", "-m", "experiment=smoke", "private.noise_multiplier=3,5"
    ).stdout
    assert "Joblib.Parallel(n_jobs=2" in output
    (folder,) = (checkout.path / "multirun").glob("*/*")
    epsilons = [json.loads((folder / job / "metrics.json").read_text())["epsilon"] for job in "01"]
    assert epsilons[0] > epsilons[1]
    assert runs(checkout).count("private_train") == 4  # noise 2.5, 4, 3, 5
