"""A sweep as a user runs it: jobs beside each other, interrupted, on a cluster, compared in the dashboard.

The tests of this file share one clone and build on each other in order.
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.browser import chromium, needs_chromium
from tests.pipelines.conftest import Checkout
from triptych.data.files import read_json

STAGES = (
    *("prepare", "private_warm_start", "private_train", "private_sample"),
    *(
        "hinge_data",
        "hinge_space",
        "hinge_supernet",
        "hinge_instructions",
        "hinge_search",
        "hinge_adapt",
        "hinge_quantize",
    ),
)
SWEEP = (
    *("python", "-m", "pipelines.sweep", "-m", "+sweep=pareto", "experiment=hinge/smoke"),
    *(f"sweep.stages=[{','.join(STAGES)}]", "hydra.sweeper.n_trials=2"),
    '+hydra.sweeper.params={private.noise_multiplier: "interval(2,4)"}',
)


@pytest.fixture(scope="module")
def swept(checkout: Checkout) -> str:
    """What Optuna's sweep over the chain prints, two jobs at a time on one SQLite file."""
    return checkout.run(*SWEEP).stdout


def jobs(checkout: Checkout) -> list[Run]:
    """The runs of the sweep's jobs, in order."""
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    found = client.search_runs(["1"], "tags.`triptych.stage` = 'pipeline_sweep'")
    return sorted(found, key=lambda run: str(run.info.run_name))


def test_optuna_weighs_accuracy_memory_and_epsilon(checkout: Checkout, swept: str):
    """Three objectives of one chain, from private training to int8, in one command."""
    assert "Joblib.Parallel(n_jobs=2" in swept
    folder = checkout.path / "multirun/pareto"
    with (folder / "sweep.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2
    noise, epsilon = ([float(row[key]) for row in rows] for key in ("private.noise_multiplier", "epsilon"))
    assert (noise[0] < noise[1]) == (epsilon[0] > epsilon[1])
    solutions = yaml.safe_load((folder / "optimization_results.yaml").read_text())["solutions"]
    measured = {
        tuple(float(row[key]) for key in ("int8_accuracy", "peak_sram_predicted", "epsilon")) for row in rows
    }
    assert {tuple(solution["values"]) for solution in solutions} <= measured


def test_what_jobs_share_is_computed_once(checkout: Checkout, swept: str):
    """Two jobs that trained the same thing would wear out each other's checkpoints, and pay for it twice."""
    made = [
        {(checkout.path / f"multirun/pareto/{job}/{folder}/run.json").stat().st_mtime_ns for job in range(2)}
        for folder in ("data/prepared/real", "out/private/warm_start", "out/private/train")
    ]
    assert [len(times) for times in made] == [1, 1, 2], "the noise concerns the training alone"


def test_every_job_is_one_run_above_its_stages(checkout: Checkout, swept: str):
    """Eleven runs a job beside each other cannot be compared; nothing is lost where two write at once."""
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    runs = jobs(checkout)
    assert [run.info.run_name for run in runs] == ["pareto/0", "pareto/1"]
    for i, run in enumerate(runs):
        report = read_json(checkout.path / f"multirun/pareto/{i}/report.json")["report"]
        assert {name: run.data.metrics[name] for name in report} == report
        assert set(json.loads(run.data.tags["triptych.children"])) == set(STAGES)
    query = f"metrics.epsilon < {max(run.data.metrics['epsilon'] for run in runs)} and metrics.macs > 0"
    found = client.search_runs(["1"], f"{query} and tags.`triptych.stage` = 'pipeline_sweep'")
    assert len(found) == 1


def test_stages_show_what_they_asked_of_the_machine(checkout: Checkout, swept: str):
    """System metrics are on without being asked for."""
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    (run, *_) = client.search_runs(["1"], "tags.`triptych.stage` = 'hinge_supernet'")
    assert run.data.metrics["system/system_memory_usage_megabytes"] > 0
    assert len(client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")) >= 2


def test_sweep_goes_on_where_it_was_interrupted_and_through_submitit(checkout: Checkout, swept: str):
    """The same command, now by a cluster's launcher: what is done is not done again."""
    folder = checkout.path / "multirun/pareto"
    (folder / "0/report.json").unlink()
    (folder / "0/out/hinge/quantize/run.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/out/**/run.json"))}
    one = [word.replace("n_trials=2", "n_trials=1") for word in SWEEP]  # a process a job, so one is enough
    output = checkout.run(*one, "hydra/launcher=submitit_local").stdout
    assert "Submitit 'local' sweep output dir" in output
    after = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/out/**/run.json"))}
    assert {path: after[path] for path in before} == before
    assert after.keys() - before.keys() == {folder / "0/out/hinge/quantize/run.json"}
    assert (folder / "0/report.json").exists()
    assert len(jobs(checkout)) == 2


def test_dvc_runs_its_queue_in_parallel(checkout: Checkout):
    """Two workers in copies of the checkout: both results are in DVC's table and in the one MLflow store."""
    for side in (12, 16):
        setting = f"overrides.yaml:tiny=['tiny.space.resolutions=[{side}]']"
        checkout.run("dvc", "exp", "run", "--queue", "--name", f"side-{side}", "-S", setting, "tiny_space")
    output = checkout.run("dvc", "queue", "start", "--jobs", "2").stdout
    assert "Started '2' new experiments task queue workers" in output
    deadline = time.monotonic() + 240
    while checkout.run("git", "for-each-ref", "refs/exps").stdout.count("/side-") < 2:
        if time.monotonic() > deadline:
            checkout.run("dvc", "queue", "stop", "--kill")
            pytest.fail(checkout.run("dvc", "queue", "status").stdout)
        time.sleep(0.5)
    shown = checkout.run("dvc", "exp", "show", "--csv").stdout
    rows = csv.DictReader(shown[shown.index("Experiment,") :].splitlines())
    found = {row["Experiment"]: row["resolution"] for row in rows}
    assert (found["side-12"], found["side-16"]) == ("12", "16")
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    runs = client.search_runs(["1"], "tags.`triptych.stage` = 'tiny_space'")
    assert {12, 16} <= {run.data.metrics["resolution"] for run in runs}


@pytest.fixture
def dashboard(checkout: Checkout) -> Iterator[str]:
    """The address of the page of runs that `make dashboard` starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PORT": str(port), "PYTHONPATH": str(checkout.path / "src")}
    server = subprocess.Popen(
        [sys.executable, "-m", "pipelines.dashboard", "hydra.run.dir=.", "hydra.output_subdir=null"],
        cwd=checkout.path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, "the dashboard ended"
                assert time.monotonic() < deadline, "the dashboard does not answer"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@needs_chromium
def test_dashboard_compares_the_runs_of_a_sweep(
    checkout: Checkout, swept: str, dashboard: str, tmp_path: Path
):
    """What people open after a sweep: every job's name and numbers are on the page, and on the screen."""
    runs = jobs(checkout)
    names = [str(run.info.run_name) for run in runs]
    chosen = json.dumps([run.info.run_id for run in runs]).replace('"', "%22")
    with chromium(tmp_path) as page:
        page.look_like(width=1600, height=3000)
        page.open(f"{dashboard}/#/compare-runs?runs={chosen}&experiments=[%221%22]")
        page.until_it_says(*names, "peak_sram_predicted", "int8_accuracy")
        text = page.text()
        assert f"Comparing {len(runs)} Runs" in text
        assert all(f"{run.data.metrics['epsilon']:.3f}"[:-1] in text for run in runs)
        boxes = [page.ask(BOX % json.dumps(name)) for name in names]
        page.screenshot(tmp_path / "compare.png")
    picture = imread(tmp_path / "compare.png")[..., :3]
    assert picture.shape[:2] == (3000, 1600)
    for name, (left, top, right, bottom) in zip(names, boxes, strict=True):
        assert np.ptp(picture[top:bottom, left:right]) > 0.5, f"{name} cannot be read on the screenshot"


# where the text that says exactly this lies on the screen
BOX = """(() => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) if (walk.currentNode.data.trim() === %s) {
    const range = document.createRange();
    range.selectNodeContents(walk.currentNode);
    const {left, top, right, bottom} = range.getBoundingClientRect();
    if (right > left) return [left, top, right, bottom].map(Math.round);
  }
})()"""
