"""What a team shares: an MLflow server on PostgreSQL and S3, and a DVC remote on S3.

The tests share one clone and build on each other in order.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from mlflow import MlflowClient

from tests.pipelines.conftest import Checkout
from tests.servers import Postgres, free_port, kill, postgres, s3, start_mlflow
from triptych.tracking import mlflow as tracking

EXPERIMENT = "triptych"
BUCKET = "triptych"


@pytest.fixture(scope="module")
def store() -> Iterator[None]:
    with s3(BUCKET):
        yield


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def server(store: None, database: Postgres) -> Iterator[str]:
    """The server of docs/scale.md: its clients know its address alone."""
    port = free_port()
    process = start_mlflow(database.uri, f"s3://{BUCKET}/mlflow", port)
    yield f"http://127.0.0.1:{port}"
    kill(process)


def objects(prefix: str) -> set[str]:
    """What lies in the bucket, by boto3."""
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return {each["Key"] for each in found.get("Contents", [])}


def rows(database: Postgres, query: str) -> list[tuple]:
    """The answer of PostgreSQL itself."""
    import psycopg2

    with psycopg2.connect(database.uri.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_two_repros_at_once_do_not_disturb_each_other(checkout: Checkout):
    """DVC's locks let one of them work; the other ends in one line, and the result is whole."""
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: checkout.run("dvc", "repro", "prepare", check=False), range(2)))
    assert not all(each.returncode for each in done)
    assert all("lock" in each.stdout or "busy" in each.stdout for each in done if each.returncode)
    assert "up to date" in checkout.run("dvc", "status", "prepare").stdout
    run = json.loads((checkout.path / "data/prepared/real/run.json").read_text())
    assert run["stage"] == "prepare"


def test_results_travel_through_an_s3_remote(checkout: Checkout, store: None, tmp_path: Path):
    """Pushed from one clone and pulled into another: the same bytes, nothing computed."""
    checkout.run("dvc", "remote", "add", "--default", "team", f"s3://{BUCKET}/dvc")
    checkout.run("dvc", "push", "prepare")
    other = Checkout(tmp_path / "other")
    checkout.run("git", "clone", "--quiet", ".", str(other.path))
    for name in ("dvc.lock", ".dvc/config"):
        (other.path / name).write_bytes((checkout.path / name).read_bytes())
    other.run("dvc", "pull", "prepare")
    split = "data/prepared/real/train.safetensors"
    assert (other.path / split).read_bytes() == (checkout.path / split).read_bytes()
    assert len(objects("dvc/")) >= 3


def test_results_reach_the_teams_server(
    checkout: Checkout, server: str, database: Postgres, monkeypatch: pytest.MonkeyPatch
):
    """Metrics lie in PostgreSQL, files in the bucket: read there without MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    checkout.run("python", "-m", "pipelines.sync")
    written = json.loads((checkout.path / "data/prepared/real/metrics.json").read_text())
    stored = "select key, value from metrics join runs using (run_uuid) where name like 'prepare%'"
    assert dict(rows(database, stored)) == written
    ((run,),) = rows(database, "select run_uuid from runs where name like 'prepare%' and status = 'FINISHED'")
    assert f"mlflow/1/{run}/artifacts/run.json" in objects("mlflow/1/")


def test_database_that_dies_in_a_training_is_caught_up_with(server: str, database: Postgres, tmp_path: Path):
    """MLflow answers with errors meanwhile; afterwards the run is whole, every step once."""
    send = tracking.live_sink(server, EXPERIMENT, stage="train", fingerprint="dying")
    send(0, {"loss": 0.5})
    database.kill()
    with pytest.warns(UserWarning, match=r"pipelines\.sync"):
        send(1, {"loss": 0.4})
    (tmp_path / "run.json").write_text('{"stage": "train", "fingerprint": "dying", "config": {}}')
    (tmp_path / "metrics.json").write_text('{"epsilon": 9.5}')
    (tmp_path / "curves.csv").write_text("step,loss\n0,0.5\n1,0.4\n2,0.3\n")
    database.start()
    client: MlflowClient = tracking.connect(server)
    tracking.publish(client, EXPERIMENT, tmp_path)
    stored = "select step, value from metrics join runs using (run_uuid)"
    stored += " where name = 'train-dying' and key = 'loss' order by step"
    assert rows(database, stored) == [(0, 0.5), (1, 0.4), (2, 0.3)]
