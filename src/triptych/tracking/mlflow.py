"""MLflow as a projection of what the pipeline did: one run per fingerprint.

The files of a stage are the truth; `publish` makes the store agree with them
and may be repeated at any time. A store that cannot be reached costs a warning,
never a training.
"""

import csv
import json
import logging
import os
import sqlite3
import subprocess
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from triptych.data.files import read_json
from triptych.tracking.system import Sample

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

SQLITE = "sqlite:///"
TURN_SECONDS = 60  # the longest wait for the other jobs of a sweep
SLOW_SECONDS = 2.0  # a row that takes longer is the last one sent while training runs
PRIVATE_PREFIX = "private_"  # files computed on private data: uploaded only on request

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # a mute server must not hold a stage for minutes
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def resolve_uri(uri: str) -> str:
    """Make a relative SQLite path absolute, in the main checkout.

    `dvc exp run --queue` works in a temporary copy under `.dvc/tmp/exps`, which
    DVC deletes afterwards: its runs belong in the store of the checkout.
    """
    if not uri.startswith(SQLITE) or uri.startswith(SQLITE + "/"):
        return uri
    root = str(Path.cwd()).split("/.dvc/tmp/exps/")[0]
    return f"{SQLITE}{root}/{uri.removeprefix(SQLITE)}"


def ensure_store(uri: str) -> None:
    """Create a SQLite store whole, under a lock, or not at all.

    MLflow's own first use runs a migration that parallel jobs break.
    """
    if not uri.startswith(SQLITE):
        return
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        SqlAlchemyStore(f"{SQLITE}{fresh}", str(path.parent / "mlruns")).engine.dispose()
        connection = sqlite3.connect(fresh)
        connection.execute("pragma journal_mode=wal")
        connection.close()
        fresh.replace(path)


def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`, created where it is a SQLite file."""
    from mlflow import MlflowClient

    # MLflow prints the whole traceback of a failure that `tolerate` tells in one line
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    uri = resolve_uri(uri)
    ensure_store(uri)
    return MlflowClient(uri)


def writing(client: "MlflowClient") -> AbstractContextManager[object]:
    """Held while something is written: the jobs of a sweep take turns with a SQLite store.

    SQLite refuses at once, without waiting, to let a transaction write that read before another wrote.
    """
    if not client.tracking_uri.startswith(SQLITE):
        return nullcontext()
    return FileLock(f"{client.tracking_uri.removeprefix(SQLITE)}.lock", timeout=TURN_SECONDS)


@contextmanager
def tolerate() -> Iterator[None]:
    """Turn any failure of the store into a warning that says how to repair it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever a store can raise must not stop work
        reason = textwrap.shorten(str(error), 240, placeholder=" ...")  # SQL and its values may follow
        warnings.warn(
            f"MLflow did not take this ({type(error).__name__}: {reason}); the files are complete, "
            "`python -m pipelines.sync` brings the store up to date",
            stacklevel=3,
        )


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment called `name`, created by whoever comes first."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name)
        except MlflowException:
            experiment = client.get_experiment_by_name(name)  # a sibling was faster
            if experiment is None:
                raise
    return experiment.experiment_id


def git_tags() -> dict[str, str]:
    """Commit and dirty flag of the working tree; empty outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "git.commit": git("rev-parse", "HEAD"),
            "git.dirty": str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower(),
        }
    except (OSError, subprocess.CalledProcessError):
        return {}


def open_run(client: "MlflowClient", experiment: str, *, stage: str, fingerprint: str) -> str:
    """The run of this fingerprint: found (cache hit, killed attempt) or created."""
    with writing(client):
        where = experiment_id(client, experiment)
        return _find_or_create(client, where, stage=stage, fingerprint=fingerprint)


def _find_or_create(client: "MlflowClient", where: str, *, stage: str, fingerprint: str) -> str:
    query = f"tags.`triptych.fingerprint` = '{fingerprint}'"
    found = client.search_runs([where], query, order_by=["attributes.start_time ASC"], max_results=1)
    if found:
        return found[0].info.run_id
    tags = {"triptych.fingerprint": fingerprint, "triptych.stage": stage, **git_tags()}
    dvc = {f"dvc.{key[4:].lower()}": v for key, v in os.environ.items() if key.startswith("DVC_EXP_")}
    run = client.create_run(where, run_name=f"{stage}-{fingerprint[:6]}", tags={**tags, **dvc})
    return run.info.run_id


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested config as MLflow parameters with dotted names."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat


def read_curves(folder: Path, *, private: bool) -> Iterator[tuple[str, float, int]]:
    """(metric, value, step) of every row of every `*.csv` with a `step` column."""
    for path in sorted(folder.rglob("*.csv")):
        if path.name.startswith(PRIVATE_PREFIX) and not private:
            continue
        with path.open(newline="") as handle:
            for row in csv.DictReader(handle):
                if "step" not in row:
                    break
                step = int(row.pop("step"))
                yield from ((name, float(value), step) for name, value in row.items() if value)


def publish(
    client: "MlflowClient",
    experiment: str,
    folder: Path,
    *,
    private: bool = False,
    system: Sequence[Sample] = (),
) -> str:
    """Make the store hold what the stage's `folder` says; returns the run's id.

    Reads `run.json` (stage, fingerprint, config), `metrics.json`, `*.csv` curves
    and the pictures; `system` is what it asked of the machine. Repeating it
    changes nothing.
    """
    info = read_json(folder / "run.json")
    run_id = open_run(client, experiment, stage=info["stage"], fingerprint=info["fingerprint"])
    with writing(client):
        _fill(client, run_id, info, folder, private=private, system=system)
        count_rows(client)
    return run_id


def count_rows(client: "MlflowClient") -> None:
    """Let SQLite count (milliseconds): else a search by a metric compares every run with every other."""
    if not client.tracking_uri.startswith(SQLITE):
        return
    with closing(sqlite3.connect(client.tracking_uri.removeprefix(SQLITE))) as connection:
        connection.execute("pragma analysis_limit=400")
        connection.execute("analyze")


def _fill(
    client: "MlflowClient",
    run_id: str,
    info: Mapping[str, Any],
    folder: Path,
    *,
    private: bool,
    system: Sequence[Sample],
) -> None:
    from mlflow.entities import Metric, Param

    run = client.get_run(run_id)
    if run.info.status == "FINISHED" and run.data.tags.get("triptych.published") == "true":
        return
    now = int(time.time() * 1000)
    params = [Param(k, v[:6000]) for k, v in flatten(info["config"]).items() if k not in run.data.params]
    metrics = [Metric(k, v, now, 0) for k, v in flatten_metrics(read_json(folder / "metrics.json"))]
    metrics += _missing(client, run_id, read_curves(folder, private=private), now)
    for step, sample in enumerate(system):
        metrics += [Metric(name, value, sample.milliseconds, step) for name, value in sample.values.items()]
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])
    for picture in sorted(folder.glob("*.png")):
        if private or not picture.name.startswith(PRIVATE_PREFIX):
            client.log_artifact(run_id, str(picture), "figures")
    client.log_artifact(run_id, str(folder / "run.json"))
    client.log_inputs(run_id, _datasets(info.get("data", {})))
    client.set_tag(run_id, "triptych.published", "true")
    client.set_terminated(run_id)


def _datasets(data: Mapping[str, str]) -> list["DatasetInput"]:
    """The files that a stage read, as MLflow datasets: name, digest, path."""
    from mlflow.entities import Dataset, DatasetInput

    return [
        DatasetInput(Dataset(Path(path).name, sha[:36], "local", json.dumps({"uri": path})))
        for path, sha in data.items()
    ]


def _missing(
    client: "MlflowClient", run_id: str, curves: Iterator[tuple[str, float, int]], now: int
) -> list["Metric"]:
    """The points of the curves that were not sent while the run was live."""
    from mlflow.entities import Metric

    known: dict[str, set[int]] = {}
    missing = []
    for name, value, step in curves:
        if name not in known:
            known[name] = {point.step for point in client.get_metric_history(run_id, name)}
        if step not in known[name]:
            missing.append(Metric(name, value, now, step))
    return missing


def flatten_metrics(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a metrics file with dotted names; text is left to the file."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten_metrics(value, f"{prefix}{key}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)


def live_sink(
    uri: str, experiment: str, *, stage: str, fingerprint: str
) -> Callable[[int, Mapping[str, float]], None]:
    """A function that sends one row of a curve at once.

    After a first failure, or a row that took longer than `SLOW_SECONDS`, it stays
    quiet: training does not wait for a store, and `publish` sends what is missing.
    """
    state: dict[str, Any] = {}

    def send(step: int, row: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        if state.get("quiet"):
            return
        state["quiet"] = True  # until this call has succeeded in time
        with tolerate():
            if "client" not in state:
                state["client"] = connect(uri)
                state["run"] = open_run(state["client"], experiment, stage=stage, fingerprint=fingerprint)
            now = int(time.time() * 1000)
            metrics = [Metric(name, value, now, step) for name, value in row.items()]
            start = time.monotonic()
            with writing(state["client"]):
                state["client"].log_batch(state["run"], metrics=metrics)
            state["quiet"] = time.monotonic() - start > SLOW_SECONDS

    return send
