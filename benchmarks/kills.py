"""kill -9 at random moments of every training, and what the next attempt makes of it.

    python -m benchmarks.kills [kills] [training ...]

Works in a clone of its own, in the smallest size. A training is run once whole, then
killed and continued `kills` times: at odd attempts at a random time, at even ones
within 3 ms of a random file operation (a file opened for writing, renamed, removed),
which is where checkpoints, ledger and results are written. After each kill:

- no file in the result folder differs from the whole run's, so none is half-written;
- the same command ends, and every file equals the whole run's bit for bit. Private
  training pays again for the steps that it repeats: then its ledger is longer, never
  shorter, and other files may differ;
- MLflow shows one run of the stage.

The whole run makes its batches itself; killed and continued ones have 0, 1 or 2
processes for that in turn, which must change no file.

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
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from shutil import rmtree

import yaml
from tqdm import tqdm

from tests.pipelines.conftest import make_checkout

LIBRARIES = ("torch", "pytorch_lightning", "torchmetrics", "sklearn.ensemble", "mlflow", "matplotlib.pyplot")
QUIET = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]
DELAY = 0.003  # seconds from a file operation to the kill, at most
STORE = "runs.db"


@dataclass(frozen=True)
class Job:
    """One training, or a stage before one, made long enough to be killed."""

    name: str  # of the row
    script: str
    out: str
    overrides: tuple[str, ...] = ()
    trains: bool = True
    pays: int = 0  # releases that a repeated part of the training pays for again; 0: nothing is repeated

    @property
    def command(self) -> list[str]:
        chain = self.name.startswith("hinge")
        experiment = "experiment=hinge/smoke" if chain else "experiment=smoke"
        twin = [f"stage={self.name}"] if chain and self.script != self.name else []
        return [
            experiment,
            f"out={self.out}",
            f"tracking.uri=sqlite:///{STORE}",
            *twin,
            *self.overrides,
            *QUIET,
        ]


def _before(name: str, out: str, script: str | None = None) -> Job:
    return Job(name, script or name, out, trains=False)


def _private(method: str, *overrides: str, pays: int = 0) -> Job:
    """Private training by a method."""
    name = "private_train" if method == "gswgan" else f"private_train, {method}"
    folder = "train" if method == "gswgan" else method
    return Job(
        name, "private_train", f"out/private/{folder}", (f"private.method={method}", *overrides), pays=pays
    )


JOBS = [
    _before("prepare", "data/prepared/real"),
    _before("robust_shift", "data/prepared/shifted"),
    Job("robust_source", "robust_source", "out/robust/source", ("robust.source.epochs=8",)),
    Job("robust_adapt", "robust_adapt", "out/robust/adapt", ("robust.source.epochs=8",)),
    _before("tiny_space", "out/tiny/space"),
    Job("tiny_supernet", "tiny_supernet", "out/tiny/supernet"),
    _before("tiny_instructions", "out/tiny/instructions"),
    _before("tiny_search", "out/tiny/search"),
    Job("tiny_quantize", "tiny_quantize", "out/tiny/quantize"),
    Job("reference", "reference", "out/reference", ("private.classifier.epochs=8",)),
    Job(
        "private_warm_start", "private_warm_start", "out/private/warm_start", ("private.warm_start.steps=60",)
    ),
    _private("gswgan", "private.steps=300", "private.noise_multiplier=9", pays=300),
    _before("private_sample", "out/private/synthetic"),
    Job("private_evaluate", "private_evaluate", "out/private/evaluate", ("private.classifier.epochs=8",)),
    _before("hinge_data", "out/hinge/data"),
    _before("hinge_space", "out/hinge/space", "tiny_space"),
    Job("hinge_supernet", "tiny_supernet", "out/hinge/supernet"),
    _before("hinge_instructions", "out/hinge/instructions", "tiny_instructions"),
    _before("hinge_search", "out/hinge/search", "tiny_search"),
    Job("hinge_adapt", "hinge_adapt", "out/hinge/adapt"),
    Job("hinge_quantize", "tiny_quantize", "out/hinge/quantize"),
    _private("dp_merf", "private.dp_merf.steps=300"),
    _private(
        "dp_merf_ae",
        "private.dp_merf_ae.encoder_steps=100",
        "private.dp_merf_ae.steps=100",
        "private.dp_merf_ae.noise_multiplier=3",
        pays=101,
    ),
    _private("gpate", "private.gpate.steps=100", "private.gpate.noise_multiplier=1000", pays=100),
    _private("dp_sgd_gan", "private.dp_sgd_gan.steps=100", "private.dp_sgd_gan.noise_multiplier=4", pays=100),
    Job(
        "tiny_compare",
        "tiny_compare",
        "multirun/kills/smoke",
        ("board=stm32f410", "tiny.compare.epochs=1"),
    ),
    _private("fed_gswgan", "private.fed_gswgan.noise_multiplier=9", "private.fed_gswgan.clients=3", pays=3),
    _private(
        "fed_avg_gan", "private.fed_avg_gan.noise_multiplier=9", "private.fed_avg_gan.clients=3", pays=3
    ),
]


class Fault(Exception):  # noqa: N818  # what the campaign looks for
    """A stage that does not keep what the documentation promises."""


def main(kills: int, chosen: Iterable[str]) -> None:
    for library in LIBRARIES:
        import_module(library)
    trainings, faults = {job.name for job in JOBS if job.trains}, []
    names = set(chosen) or trainings
    if unknown := names - trainings:
        sys.exit(
            f"no training is called {' or '.join(sorted(unknown))}; there are {', '.join(sorted(trainings))}"
        )
    with tempfile.TemporaryDirectory() as folder:
        clone = make_checkout(Path(folder)).path
        os.chdir(clone)
        sys.path[:0] = [str(clone), str(clone / "src")]
        _line("| training | kills | died of it | paid again | file operations | seconds of a whole run |")
        _line("|---|---|---|---|---|---|")
        for job in _upstream(names):
            if job.name in names:
                faults += _campaign(job, kills)
            else:
                _finish(job)
    sys.exit("\n".join(faults) or 0)


def _upstream(names: set[str]) -> list[Job]:
    """The jobs with these names, behind those whose results they read."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    chosen: list[Job] = []
    read: set[str] = set()
    for job in reversed(JOBS):
        if job.name in names or any(path.startswith(f"{job.out}/") for path in read):
            chosen.insert(0, job)
            stage = stages.get(job.name) or stages.get(job.script, {})
            read.update(stage.get("deps", ()))
    return chosen


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _campaign(job: Job, kills: int) -> list[str]:
    """Print the row of the job; its fault, where it has one."""
    rng = random.Random(f"{job.name} 0")
    started = time.monotonic()
    operations = _finish(job)
    duration = time.monotonic() - started
    whole = _contents(Path(job.out))
    killed = repeated = 0
    for attempt in tqdm(range(kills), job.name, leave=False):
        rmtree(job.out)
        workers = attempt % 3
        moments = operations if attempt % 2 else 0
        killed += _kill(job, rng, operations=moments, duration=duration, workers=workers)
        try:
            _require_whole(job, whole)
            _finish(job, workers=(workers + 1) % 3)
            repeated += _compare(job, whole)
            _require_one_run(job)
        except Fault as fault:
            _line(f"| `{job.name}` | {attempt + 1} | FAULT: {fault} | | {operations} | {duration:.1f} |")
            return [f"{job.name}, kill {attempt + 1}: {fault}"]
    _line(f"| `{job.name}` | {kills} | {killed} | {repeated} | {operations} | {duration:.1f} |")
    return []


def _kill(job: Job, rng: random.Random, *, operations: int, duration: float, workers: int) -> bool:
    """Start an attempt and kill it, at a file operation where there are any; whether it died of it."""
    if operations:
        delay = rng.choice([0.0, rng.uniform(0, DELAY)])
        child = _fork(job, kill_at=rng.randint(1, operations), delay=delay, workers=workers)
    else:
        child = _fork(job, workers=workers)
        time.sleep(rng.uniform(0.2, 0.95) * duration)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] != 0


def _fork(job: Job, *, kill_at: int = 0, delay: float = 0.0, workers: int = 0) -> int:
    """Start an attempt; it kills itself at the file operation number `kill_at`. Returns its process."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    log = os.open("attempt.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    count = _count_operations(kill_at, delay)
    sys.argv = [job.script, *job.command, f"trainer.workers={workers}"]
    status = 1
    try:
        runpy.run_module(f"pipelines.{job.script}", run_name="__main__")
        status = 0
    except BaseException:  # noqa: BLE001  # whatever it is, nobody else would print it
        traceback.print_exc()
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


def _finish(job: Job, *, workers: int = 0) -> int:
    """Run the stage to its end; the number of its file operations."""
    status = os.waitpid(_fork(job, workers=workers), 0)[1]
    if status:
        raise Fault(f"did not end well:\n{Path('attempt.log').read_text()}")
    return int(Path("operations.txt").read_text())


def _contents(folder: Path) -> dict[str, str]:
    """Digests of the files that show; what is being written is in hidden folders."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    shown = {name: path for name, path in files.items() if not name.startswith(".") and "/." not in name}
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in shown.items()}


def _require_whole(job: Job, whole: dict[str, str]) -> None:
    """What a killed attempt shows is complete; where steps are paid again, files are complete but others."""
    for name, digest in _contents(Path(job.out)).items():
        if whole[name] != digest and not job.pays:
            raise Fault(f"a killed attempt left {name} half-written")


def _compare(job: Job, whole: dict[str, str]) -> int:
    """Every file is the whole run's, unless releases were paid for again: how many."""
    out = Path(job.out)
    repeated = _paid_again(job) if job.pays else 0
    contents = _contents(out)
    if others := set(contents) ^ set(whole):
        raise Fault(f"after the kill, {', '.join(others)} are missing or too many")
    different = [name for name, digest in contents.items() if whole[name] != digest]
    if different and not repeated:
        raise Fault(f"after the kill, {', '.join(different)} differ from the whole run's")
    return repeated


def _paid_again(job: Job) -> int:
    """What the certificate counts beyond a whole run's releases; the ledger must say the same."""
    certificate = json.loads((Path(job.out) / "certificate.json").read_text())
    lines = len((Path(job.out) / "ledger.jsonl").read_text().splitlines())
    if certificate["steps"] < job.pays or lines != certificate["steps"] + 1:
        raise Fault(f"{certificate['steps']} steps certified, {lines} lines in the ledger")
    return certificate["steps"] - job.pays


def _require_one_run(job: Job) -> None:
    """The store shows the stage's result once; jobs that are no stage have none."""
    from mlflow import MlflowClient

    record = Path(job.out) / "run.json"
    if not record.exists():
        return
    fingerprint = json.loads(record.read_text())["fingerprint"]
    client = MlflowClient(f"sqlite:///{STORE}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`triptych.fingerprint` = '{fingerprint}'")
    if len(runs) != 1 or runs[0].info.status != "FINISHED":
        raise Fault(f"MLflow shows {[run.info.status for run in runs]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2:])
