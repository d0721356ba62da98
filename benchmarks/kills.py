"""kill -9 at random moments of every training stage, and what the next attempt makes of it.

    python -m benchmarks.kills [kills] [stage ...]

Works in a clone of its own, in the smallest size. A stage is run once whole, then
killed and continued `kills` times: at odd attempts at a random time, at even ones
within 3 ms of a random file operation (a file opened for writing, renamed, removed),
which is where checkpoints, ledger and results are written. After each kill:

- no file in the result folder differs from the whole run's, so none is half-written;
- the same command ends, and every file equals the whole run's bit for bit. Private
  training draws new noise for repeated steps: its ledger may only be longer, and its
  epsilon only higher;
- MLflow shows one run of the stage.

Attempts are forks of one process that has the libraries imported already.
"""

import json
import os
import random
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from shutil import rmtree

from tqdm import tqdm

from tests.pipelines.conftest import make_checkout

LIBRARIES = ("torch", "pytorch_lightning", "torchmetrics", "sklearn.ensemble", "mlflow", "matplotlib.pyplot")
QUIET = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]
DELAY = 0.003  # seconds from a file operation to the kill, at most
STORE = "runs.db"
STEPS = 300  # of private training


@dataclass(frozen=True)
class Job:
    """One stage: its script, its result folder, overrides that make it long enough to be killed."""

    stage: str
    script: str
    out: str
    overrides: tuple[str, ...] = ()
    trains: bool = True

    @property
    def command(self) -> list[str]:
        store = f"tracking.uri=sqlite:///{STORE}"
        stage = [f"stage={self.stage}"] if self.stage != self.script else []
        return ["experiment=smoke", f"out={self.out}", store, *stage, *self.overrides, *QUIET]


def _before(stage: str, out: str, script: str | None = None) -> Job:
    return Job(stage, script or stage, out, trains=False)


JOBS = [
    _before("prepare", "data/prepared/real"),
    _before("robust_shift", "data/prepared/shifted"),
    Job("robust_source", "robust_source", "out/robust/source", ("robust.source.epochs=8",)),
    Job("robust_adapt", "robust_adapt", "out/robust/adapt", ("robust.source.epochs=8",)),
    _before("tiny_space", "out/tiny/space"),
    Job("tiny_supernet", "tiny_supernet", "out/tiny/supernet"),
    _before("tiny_instructions", "out/tiny/instructions"),
    _before("tiny_instructions", "out/tiny/instructions"),
    _before("tiny_search", "out/tiny/search"),
    Job("tiny_quantize", "tiny_quantize", "out/tiny/quantize"),
    Job("reference", "reference", "out/reference", ("private.classifier.epochs=8",)),
    Job("private_warm_start", "private_warm_start", "out/private/warm_start"),
    Job(
        "private_train",
        "private_train",
        "out/private/train",
        (f"private.steps={STEPS}", "private.noise_multiplier=9"),
    ),
    _before("private_sample", "out/private/synthetic"),
    _before("hinge_data", "out/hinge/data"),
    _before("hinge_space", "out/hinge/space", "tiny_space"),
    Job("hinge_supernet", "tiny_supernet", "out/hinge/supernet"),
    _before("hinge_instructions", "out/hinge/instructions", "tiny_instructions"),
    _before("hinge_instructions", "out/hinge/instructions", "tiny_instructions"),
    _before("hinge_search", "out/hinge/search", "tiny_search"),
    Job("hinge_adapt", "hinge_adapt", "out/hinge/adapt"),
]


def main(kills: int, chosen: Iterable[str]) -> None:
    for library in LIBRARIES:
        import_module(library)
    names = set(chosen)
    with tempfile.TemporaryDirectory() as folder:
        clone = make_checkout(Path(folder)).path
        os.chdir(clone)
        sys.path[:0] = [str(clone), str(clone / "src")]
        _line("| stage | kills | died of it | steps paid again | file operations | seconds of a whole run |")
        _line("|---|---|---|---|---|---|")
        for job in JOBS:
            if job.trains and (not names or job.stage in names):
                _campaign(job, kills)
            else:
                _finish(job)


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _campaign(job: Job, kills: int) -> None:
    rng = random.Random(f"{job.stage} 0")
    started = time.monotonic()
    operations = _finish(job)
    duration = time.monotonic() - started
    out, whole = Path(job.out), _contents(Path(job.out))
    killed = repeated = 0
    for attempt in tqdm(range(kills), job.stage, leave=False):
        rmtree(out)
        if attempt % 2:
            child = _fork(
                job, kill_at=rng.randint(1, operations), delay=rng.choice([0.0, rng.uniform(0, DELAY)])
            )
        else:
            child = _fork(job)
            time.sleep(rng.uniform(0.2, 0.95) * duration)
            os.kill(child, signal.SIGKILL)
        killed += os.waitpid(child, 0)[1] != 0
        _require_whole(job, whole)
        _finish(job)
        repeated += _compare(job, whole)
    _require_one_run(job)
    _line(f"| `{job.stage}` | {kills} | {killed} | {repeated} | {operations} | {duration:.1f} |")


def _fork(job: Job, *, kill_at: int = 0, delay: float = 0.0) -> int:
    """Start an attempt; it kills itself at the file operation number `kill_at`. Returns its process."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    log = os.open("attempt.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    count = _count_operations(kill_at, delay)
    sys.argv = [job.script, *job.command]
    status = 1
    try:
        runpy.run_module(f"pipelines.{job.script}", run_name="__main__")
        status = 0
    finally:
        sys.stderr.flush()
        Path("operations.txt").write_text(str(count[0]))
        os._exit(status)


def _count_operations(kill_at: int, delay: float) -> list[int]:
    count = [0]
    armed = [False]

    def watch(event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if not armed[0] and (writes or event in ("os.rename", "os.remove", "os.mkdir")):
            count[0] += 1
            if count[0] == kill_at:
                armed[0] = True
                _die_in(delay)

    sys.addaudithook(watch)
    return count


def _die_in(delay: float) -> None:
    """End this process as kill -9 does: nothing of Python runs any more."""
    if delay:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, delay)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _finish(job: Job) -> int:
    """Run the stage to its end; the number of its file operations."""
    status = os.waitpid(_fork(job), 0)[1]
    if status:
        sys.exit(f"{job.stage} did not end well:\n{Path('attempt.log').read_text()}")
    return int(Path("operations.txt").read_text())


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def _require_whole(job: Job, whole: dict[str, str]) -> None:
    """What a killed attempt shows is complete; private training may show other, complete files."""
    for name, digest in _contents(Path(job.out)).items():
        if whole[name] != digest and job.stage != "private_train":
            sys.exit(f"{job.stage}: a killed attempt left {name} half-written")


def _compare(job: Job, whole: dict[str, str]) -> int:
    """Every file is the whole run's; of private training, the steps that were paid twice."""
    out = Path(job.out)
    repeated = 0
    if job.stage == "private_train":
        certificate = json.loads((out / "certificate.json").read_text())
        repeated = certificate["steps"] - STEPS
        lines = len((out / "ledger.jsonl").read_text().splitlines())
        if repeated < 0 or lines != certificate["steps"] + 1:
            sys.exit(f"private_train: {certificate['steps']} steps certified, {lines} lines in the ledger")
    different = [name for name, digest in _contents(out).items() if whole.get(name) != digest]
    if different and not repeated:
        sys.exit(f"{job.stage}: after the kill, {', '.join(different)} differ from the whole run's")
    if others := set(_contents(out)) ^ set(whole):
        sys.exit(f"{job.stage}: after the kill, {', '.join(others)} are missing or too many")
    return repeated


def _require_one_run(job: Job) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{STORE}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"attributes.run_name LIKE '{job.stage}-%'")
    if len(runs) != 1 or runs[0].info.status != "FINISHED":
        sys.exit(f"{job.stage}: MLflow shows {[run.info.status for run in runs]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2:])
