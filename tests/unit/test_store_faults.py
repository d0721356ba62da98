"""A store that is locked, mute, slow or dying: training goes on, and publishing again repairs."""

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.servers import free_port, kill, start_mlflow
from triptych.data.files import write_json
from triptych.tracking import mlflow as tracking

EXPERIMENT = "triptych"
STEPS = 20


def results(folder: Path, mark: str) -> Path:
    """A finished stage with one curve."""
    write_json(folder / "run.json", {"stage": "train", "fingerprint": mark, "config": {"seed": 0}})
    write_json(folder / "metrics.json", {"epsilon": 9.5})
    rows = "".join(f"{step},{step / 10}\n" for step in range(STEPS))
    (folder / "curves.csv").write_text(f"step,loss\n{rows}")
    return folder


def curve(client: MlflowClient, mark: str) -> list[float]:
    """The values of the one run with this fingerprint, by step."""
    where = tracking.experiment_id(client, EXPERIMENT)
    (run,) = client.search_runs([where], f"tags.`triptych.fingerprint` = '{mark}'")
    assert run.info.status == "FINISHED"
    return [point.value for point in client.get_metric_history(run.info.run_id, "loss")]


WHOLE = [step / 10 for step in range(STEPS)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "mlflow.db"
    tracking.connect(f"sqlite:///{path}")
    return path


def test_locked_store_costs_one_warning_and_is_repaired(store: Path, tmp_path: Path):
    """Another program holds the file: the result is on the disk, the store follows later."""
    uri = f"sqlite:///{store}"
    send = tracking.live_sink(uri, EXPERIMENT, stage="train", fingerprint="locked")
    send(0, {"loss": 0.0})
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("begin exclusive")
    try:
        with pytest.warns(UserWarning, match=r"database is locked.*pipelines\.sync"):
            send(1, {"loss": 0.1})
        send(2, {"loss": 0.2})  # quiet at once: warnings are errors here
    finally:
        other.execute("rollback")
    client = tracking.connect(uri)
    tracking.publish(client, EXPERIMENT, results(tmp_path, "locked"))
    assert curve(client, "locked") == WHOLE


JOBS = """
import os, sys
from pathlib import Path
from mlflow import MlflowClient
from triptych.tracking import mlflow as t

uri, root = sys.argv[1:]
jobs = []
for name in sorted(os.listdir(root)):
    job = os.fork()  # the imports once, the work in every job
    if not job:
        send = t.live_sink(uri, "triptych", stage="train", fingerprint=name)
        for step in range(10):
            send(step, {"loss": step / 10})
        t.publish(t.connect(uri), "triptych", Path(root) / name)
        os._exit(0)
    jobs.append(job)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]) for job in jobs))
"""


def test_eight_jobs_at_once_lose_nothing(store: Path, tmp_path: Path):
    """A sweep writes into one SQLite file."""
    for job in range(8):
        results(tmp_path / f"job{job}", f"job{job}")
    command = [sys.executable, "-W", "ignore", "-c", JOBS, f"sqlite:///{store}", str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0
    client = tracking.connect(f"sqlite:///{store}")
    for job in range(8):
        assert curve(client, f"job{job}") == WHOLE


def test_server_that_dies_in_a_training_is_caught_up_with(store: Path, tmp_path: Path):
    """The rows that the dead server missed are in the files, and reach the next one."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    server = start_mlflow(f"sqlite:///{store}", str(store.parent / "artifacts"), port)
    try:
        send = tracking.live_sink(uri, EXPERIMENT, stage="train", fingerprint="dying")
        send(0, {"loss": 0.0})
        kill(server)
        with pytest.warns(UserWarning, match=r"pipelines\.sync"):
            send(1, {"loss": 0.1})
        with pytest.warns(UserWarning, match=r"pipelines\.sync"), tracking.tolerate():
            tracking.publish(tracking.connect(uri), EXPERIMENT, results(tmp_path, "dying"))
        server = start_mlflow(f"sqlite:///{store}", str(store.parent / "artifacts"), port)
        client = tracking.connect(uri)
        tracking.publish(client, EXPERIMENT, tmp_path)
        assert curve(client, "dying") == WHOLE
    finally:
        kill(server)


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_mute_server_is_given_up(mute: str, monkeypatch: pytest.MonkeyPatch):
    """By default a client waits minutes for each request."""
    assert float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    send = tracking.live_sink(mute, EXPERIMENT, stage="train", fingerprint="mute")
    start = time.monotonic()
    with pytest.warns(UserWarning, match=r"pipelines\.sync"):
        send(0, {"loss": 0.0})
    send(1, {"loss": 0.1})
    assert time.monotonic() - start < 60


def test_slow_store_is_left_alone_until_the_end(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One slow row is enough; the others arrive with the result."""
    monkeypatch.setattr(tracking, "SLOW_SECONDS", -1.0)  # whatever it takes is too long
    uri = f"sqlite:///{store}"
    send = tracking.live_sink(uri, EXPERIMENT, stage="train", fingerprint="slow")
    sent = threading.Event()
    monkeypatch.setattr(MlflowClient, "log_batch", _counting(MlflowClient.log_batch, sent))
    send(0, {"loss": 0.0})
    assert sent.is_set()
    sent.clear()
    send(1, {"loss": 0.1})
    assert not sent.is_set()
    client = tracking.connect(uri)
    tracking.publish(client, EXPERIMENT, results(tmp_path, "slow"))
    assert curve(client, "slow") == WHOLE


def _counting(original, sent: threading.Event):
    def log_batch(*arguments, **keywords):
        sent.set()
        return original(*arguments, **keywords)

    return log_batch
