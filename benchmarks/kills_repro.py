"""kill -9 of `dvc repro` with all its processes, again and again, and what the last one makes of it.

    python -m benchmarks.kills_repro [kills] [stage ...]

Works in a clone of its own, in the smallest size. The pipeline, or what the stages
need, is reproduced once whole. Then everything that it wrote is deleted, and it is
started `kills` times and killed at a random moment, each time from where the one before
was left. Whatever shows after a kill equals the whole run's, bit for bit. Then
`dvc repro` must end, and

- every result is there and equals the whole run's. Private training pays again for the
  steps that it repeats: then its ledger is longer, and what is made of it may differ;
- DVC takes everything for up to date;
- MLflow shows the runs of the whole run: one of each stage, all finished.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import yaml
from mlflow import MlflowClient
from tqdm import tqdm

from tests.pipelines.conftest import Checkout, make_checkout

START = 4.0  # seconds that DVC takes before it starts a stage, about
TRAINED = "out/private/train"


class Fault(Exception):  # noqa: N818  # what the campaign looks for
    """A pipeline that does not keep what the documentation promises."""


def main(kills: int, stages: list[str]) -> None:
    command = ["dvc", "repro", *stages]
    with tempfile.TemporaryDirectory() as folder:
        clone = make_checkout(Path(folder))
        started = time.monotonic()
        clone.run(*command)
        seconds = time.monotonic() - started
        whole, steps, runs = _results(clone), _steps(clone), _runs(clone)
        clone.run("git", "clean", "-ffdxq")
        try:
            died = _kill_often(clone, command, kills, seconds, whole)
            clone.run(*command)
            paid = _steps(clone) - steps
            _require_same(clone, whole, paid_again=paid)
            if "up to date" not in clone.run("dvc", "status", *stages).stdout:
                raise Fault("DVC is not done")
            if _runs(clone) != runs:
                raise Fault(f"MLflow shows {_runs(clone)}, not {runs}")
        except Fault as fault:
            sys.exit(f"FAULT: {fault}")
    sys.stdout.write(f"| `{' '.join(command)}` | {kills} | {died} | {paid} | | {seconds:.0f} |\n")


def _kill_often(
    clone: Checkout, command: list[str], kills: int, seconds: float, whole: dict[str, str]
) -> int:
    """Start and kill; on average the lives of all attempts add up to a whole run. How many died of it."""
    rng, died = random.Random(0), 0
    for _ in tqdm(range(kills), "dvc repro", leave=False):
        attempt = subprocess.Popen(
            command,
            cwd=clone.path,
            env=clone.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            attempt.wait(START + rng.uniform(0, 2 * seconds / kills))
        except subprocess.TimeoutExpired:
            os.killpg(attempt.pid, signal.SIGKILL)
            died += attempt.wait() != 0
        for name, digest in _results(clone).items():
            if whole.get(name) != digest and not name.startswith(_made_of(clone, TRAINED)):
                raise Fault(f"a killed attempt left {name}, which is not the whole run's")
    return died


def _require_same(clone: Checkout, whole: dict[str, str], *, paid_again: int) -> None:
    found = _results(clone)
    if others := set(found) ^ set(whole):
        raise Fault(f"{', '.join(sorted(others))} are missing or too many")
    if paid_again < 0:
        raise Fault(f"{-paid_again} releases were not counted")
    allowed = _made_of(clone, TRAINED) if paid_again else ()
    different = [name for name in found if found[name] != whole[name] and not name.startswith(allowed)]
    if different:
        raise Fault(f"{', '.join(different)} differ from the whole run's")


def _results(clone: Checkout) -> dict[str, str]:
    """Digests of the files that show; what is being written is in hidden folders and files."""
    found = (path for top in ("out", "data/prepared") for path in clone.path.glob(f"{top}/**/*"))
    files = {path.relative_to(clone.path): path for path in found if path.is_file()}
    shown = {name: path for name, path in files.items() if "/." not in f"/{name}"}
    return {str(name): sha256(path.read_bytes()).hexdigest() for name, path in shown.items()}


def _steps(clone: Checkout) -> int:
    """Steps of the private training that were paid for; 0 where it was not asked for."""
    certificate = clone.path / TRAINED / "certificate.json"
    return json.loads(certificate.read_text())["steps"] if certificate.exists() else 0


def _made_of(clone: Checkout, folder: str) -> tuple[str, ...]:
    """The folders of results that depend on `folder`, itself included."""
    stages = yaml.safe_load((clone.path / "dvc.yaml").read_text())["stages"].values()
    found = {f"{folder}/"}
    for _ in stages:  # as long as the longest chain
        for stage in stages:
            if any(dep.startswith(tuple(found)) for dep in stage["deps"]):
                found.add(stage["cmd"].split("out=")[-1] + "/")
    return tuple(found)


def _runs(clone: Checkout) -> list[tuple[str, str]]:
    """Name and status of every run in the store."""
    client = MlflowClient(f"sqlite:///{clone.path}/mlflow.db")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return sorted((run.data.tags["triptych.stage"], run.info.status) for run in runs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2:])
