"""What every stage of the pipeline has in common.

A stage is a function from a `Stage` (checked config, where to read, where to
write) to its metrics. The decorator makes it a Hydra app: DVC calls it with the
resolved `params/<panel>.yaml`, a person with overrides on `conf/` and `-m`.
Results appear in the output folder one whole file at a time, `run.json` last,
and are then published to MLflow.
"""

import errno
import logging
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from pipelines.access import recorded, require_declared
from triptych.config import Config, load
from triptych.data.files import write_json
from triptych.errors import DataError, OutputError, TriptychError
from triptych.tracking import mlflow as tracking
from triptych.tracking.fingerprint import (
    Declaration,
    dependency_digests,
    fingerprint,
    is_code,
    lookup,
    read_declaration,
)
from triptych.tracking.system import observed

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from pytorch_lightning.strategies import Strategy

    from triptych.data.prepared import Split
    from triptych.data.resume import ResumableDataModule

Metrics = Mapping[str, Any]
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
DONE = "done-"  # how folders of `.ckpt` that no attempt opens begin
ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS: dict[str, Callable[["Stage"], Metrics]] = {}  # by script


@dataclass(frozen=True)
class Stage:
    """One execution of a stage: its config, its files, its training loop."""

    declaration: Declaration
    config: Config
    inputs: Path  # root of the files it reads
    out: Path  # folder it writes; becomes visible when the stage is complete

    def dep(self, name: str) -> Path:
        """The declared file or folder called `name`.

        Stages that serve several chains find their inputs this way: `dvc.yaml` says whose they are.
        """
        found = [dep for dep in self.declaration.deps if Path(dep).name == name]
        assert len(found) == 1, f"{self.declaration.name} declares {len(found)} paths called {name!r}"
        return self.inputs / found[0]

    def split(self, name: str) -> "Split":
        """The declared split called `name`, wherever it lies."""
        from triptych.data.prepared import read_split

        return read_split(self.dep(f"{name}.safetensors").parent, name)

    @cached_property
    def used(self) -> dict[str, Any]:
        """The config values that `dvc.yaml` declares for this stage."""
        values = asdict(self.config)
        return {key: lookup(values, key) for key in self.declaration.keys}

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the files and code that `dvc.yaml` declares for this stage."""
        return dependency_digests(self.declaration, self.inputs)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything the result depends on."""
        return fingerprint(self.declaration, asdict(self.config), self.digests)

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says: enough to show the run, nothing that changes by itself."""
        data = {dep: value for dep, value in self.digests.items() if not is_code(dep)}
        return {
            "stage": self.declaration.name,
            "fingerprint": self.fingerprint,
            "config": self.used,
            "data": data,
        }

    @property
    def checkpoints(self) -> Path:
        """Where a killed attempt left its state; not deleted by DVC."""
        return ROOT / ".ckpt" / self.fingerprint

    def fit(  # noqa: PLR0913  # what stages differ in
        self,
        module: "pl.LightningModule",
        data: "ResumableDataModule",
        *,
        epochs: int,
        checkpoint_every: int = 100,
        curves: str = "curves.csv",
        callbacks: tuple["pl.Callback", ...] = (),
        strategy: "Strategy | None" = None,
    ) -> "pl.Trainer":
        """Train, continuing a killed attempt, and write the curves to `out/curves`.

        Curves whose file name starts with `private_` are computed on private data
        and stay out of MLflow unless `tracking.private` is on. `checkpoint_every`
        counts batches. `trainer.devices` holds for modules that bring a `strategy` for
        several processes; their data modules share out the batches.
        """
        import pytorch_lightning as pl
        from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar

        from triptych.data.checkpoints import StreamedCheckpoints
        from triptych.data.resume import ExactResume
        from triptych.tracking.history import History

        name = Path(curves).stem
        folder = self.checkpoints / name
        history = History(self.out / curves, sink=self._live_sink(curves))
        keep = ModelCheckpoint(
            folder,
            filename="step",
            save_last=True,
            every_n_train_steps=checkpoint_every,
            enable_version_counter=False,
        )
        hardware = self.config.trainer
        data.workers = hardware.workers
        bars = [TQDMProgressBar(refresh_rate=10)] if hardware.progress_bar else []
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices if strategy else 1,
            strategy=strategy or "auto",
            use_distributed_sampler=False,
            max_epochs=epochs,
            logger=False,
            callbacks=[ExactResume(self.config.seed), *callbacks, history, keep, *bars],
            plugins=[StreamedCheckpoints()],
            enable_progress_bar=hardware.progress_bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            deterministic=True,
        )
        last = folder / "last.ckpt"
        with sound_checkpoint(last), told_to_stop():
            trainer.fit(module, data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
        return trainer

    def _live_sink(self, curves: str) -> Callable[[int, Mapping[str, float]], None] | None:
        settings = self.config.tracking
        if not settings.uri or (curves.startswith(tracking.PRIVATE_PREFIX) and not settings.private):
            return None
        return tracking.live_sink(
            settings.uri, settings.experiment, stage=self.declaration.name, fingerprint=self.fingerprint
        )


def function_of(name: str) -> Callable[[Stage], Metrics]:
    """The function of the script `pipelines/<name>.py`, for callers without Hydra.

    Looked up here, so that a job in another process finds what it imported there.
    """
    import_module(f"pipelines.{name}")
    return FUNCTIONS[name]


def stage(name: str) -> Callable[[Callable[[Stage], Metrics]], Callable[[], None]]:
    """Make a function from Stage to metrics the Hydra app of stage `name` in `dvc.yaml`."""

    def decorate(function: Callable[[Stage], Metrics]) -> Callable[[], None]:
        def app(values: DictConfig) -> None:
            try:
                _execute(name, function, values)
            except TriptychError as error:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise
                sys.exit(f"error: {error}")

        FUNCTIONS[name] = function
        return hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")(app)

    return decorate


def _execute(name: str, function: Callable[[Stage], Metrics], values: DictConfig) -> None:
    config = load(values)
    run_and_publish(
        config.stage or name, function, config, Path(config.out or HydraConfig.get().runtime.output_dir)
    )


def run_and_publish(name: str, function: Callable[[Stage], Metrics], config: Config, out: Path) -> None:
    """`run_stage`, and its result in MLflow, where there is a store."""
    settings = config.tracking
    if not settings.uri:
        run_stage(name, function, config, out)
        return
    with observed(settings.system_interval) as system:
        run_stage(name, function, config, out)
    with tracking.tolerate():
        client = tracking.connect(settings.uri)
        tracking.publish(client, settings.experiment, out, private=settings.private, system=system)


def run_stage(name: str, function: Callable[[Stage], Metrics], config: Config, out: Path) -> None:
    """Run `function` as the stage `name` of `dvc.yaml`; its results appear in `out`."""
    partial = _fresh_folder(out)
    _sweep()
    _set_up_process(config)
    stage = Stage(read_declaration(ROOT, name), config, Path(config.inputs), partial)
    stage.digests  # noqa: B018  # fails early where an input is missing
    with recorded(stage.inputs, partial) as opened, room_on_disk(out):
        metrics = function(stage)
    require_declared(opened, stage.declaration.deps, name)
    write_json(partial / "metrics.json", metrics)
    write_json(partial / "run.json", {**stage.record, "opened": sorted(opened)})
    _reveal(partial, out)
    _forget(stage.checkpoints)


def adopt(result: Path, out: Path) -> None:
    """Take over the finished `result` of another folder as `out`."""
    partial = _partial(out)
    with room_on_disk(out):
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(result, partial)
    _reveal(partial, out)


@contextmanager
def sound_checkpoint(path: Path) -> Iterator[None]:
    """Turn a checkpoint that is torn, or that holds more than weights, into a DataError with the fix."""
    try:
        yield
    except (UnpicklingError, EOFError) as error:
        raise DataError(
            f"{path} is damaged or was not written by this program; nothing in it was run. Delete "
            f"{path.parent} to train from the start"
        ) from error


@contextmanager
def told_to_stop() -> Iterator[None]:
    """End with the status of a process that SIGTERM ended, where Lightning ends with 0, a success."""
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    try:
        yield
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)


@contextmanager
def room_on_disk(out: Path) -> Iterator[None]:
    """Turn a full or read-only disk, whoever writes to it, into an OutputError with the fix."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise OutputError(
            f"cannot write the results of {out}{where}: {error.strerror}; free the disk and run the same "
            "command again: a training goes on from its last checkpoint"
        ) from error


def _set_up_process(config: Config) -> None:
    import torch
    from pytorch_lightning import seed_everything

    from triptych.heap import keep_memory

    keep_memory()
    # Lightning tells every fit which accelerators it did not find, and that others are deprecated
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec")
    warnings.filterwarnings(
        "ignore", "Using ModelCheckpoint with manual optimization"
    )  # batches are whole steps
    warnings.filterwarnings("ignore", ".*your dataloader is not resumable")  # ours is: data.resume
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view")  # a copy more, with DDP
    torch.set_num_threads(config.trainer.threads)
    seed_everything(config.seed, workers=True, verbose=False)


def _partial(out: Path) -> Path:
    return out.parent / f".{out.name}.partial"


def _fresh_folder(out: Path) -> Path:
    """The empty folder where results wait for `out`, which must take them in the end."""
    if out.exists() and not (out.is_dir() and os.access(out, os.W_OK)):
        raise OutputError(f"cannot write to {out}; choose a writable folder as `out`")
    folder = _partial(out)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"cannot create {folder}: {error.strerror}; choose a writable `out`") from error
    return folder


def _forget(checkpoints: Path) -> None:
    """Delete them in one step: an attempt that is killed here leaves all to the next or nothing.

    A checkpoint that outlived its ledger would be continued by releases that nobody counted.
    Where the folder cannot be moved it stays, whole, and the result is none the worse.
    """
    if not checkpoints.exists():
        return
    with suppress(OSError):
        checkpoints.replace(tempfile.mkdtemp(prefix=DONE, dir=checkpoints.parent))
    _sweep()


def _sweep() -> None:
    """Delete what finished attempts had no time for."""
    for folder in (ROOT / ".ckpt").glob(f"{DONE}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _reveal(partial: Path, out: Path) -> None:
    """Move each finished file into place, `run.json` last."""
    files = sorted((p for p in partial.rglob("*") if p.is_file()), key=lambda p: p.name == "run.json")
    try:
        for file in files:
            target = out / file.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
    except OSError as error:
        raise OutputError(
            f"cannot put the results in {out}: {error.strerror}; make it writable and run the command again"
        ) from error
    shutil.rmtree(partial)
