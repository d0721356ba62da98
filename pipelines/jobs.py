"""Several stages in one job: what a sweep runs instead of `dvc repro`, in a folder of its own.

A job's folder is laid out as a checkout. What its stages read and do not make
themselves is linked from the real one, so run the pipeline once before. A result
that the checkout or another job of the sweep has already is taken over: each is
computed, and paid for, once.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import yaml
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from pipelines.stage import ROOT, Stage, adopt, function_of, run_and_publish, run_stage
from triptych.config import Config, load
from triptych.config.hinge import CHANNELS
from triptych.data.files import read_json
from triptych.errors import ConfigError, TriptychError
from triptych.tracking.fingerprint import read_declaration


def job_app(function: Callable[[Config, Path], Any]) -> Callable[[], Any]:
    """Make a function of a config and the job's folder a Hydra app on `conf/`.

    An error is one line; in a multirun it is raised, so that the sweep shows which job it was.
    """

    @hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
    def app(values: DictConfig) -> Any:  # noqa: ANN401  # what the sweeper is told
        try:
            config = load(values)
            return function(config, Path(config.out or HydraConfig.get().runtime.output_dir).resolve())
        except TriptychError as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            sys.exit(f"error: {error}")

    return app


def run_stages(
    names: Sequence[str], config: Config, root: Path, *, instead: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run the stages in `root`, unless somebody has their result; returns their metrics, later ones first.

    instead  folders of the checkout that stand for others

    Raises ConfigError where a name is not in dvc.yaml.
    """
    config = replace(config, inputs=str(root))
    commands = [command_of(name) for name in names]
    made = [command.folder for command in commands]
    metrics: dict[str, Any] = {}
    for name, command in zip(names, commands, strict=True):
        _link_inputs(root, read_declaration(ROOT, name).deps, made, instead or {})
        here, folder = _for_panel(config, command.panel), root / command.folder
        mark = Stage(read_declaration(ROOT, name), here, root, folder).fingerprint
        with alone(mark):
            if found := _result(mark, (folder, ROOT / command.folder, *_beside(root, command.folder))):
                if found != folder:
                    adopt(found, folder)
            else:
                run_and_publish(name, function_of(command.script), here, folder)
        metrics |= read_json(folder / "metrics.json")
    return metrics


def prepared(config: Config, folder: Path) -> Path:
    """The prepared data set, made once for all jobs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "run.json").exists():
            run_stage("prepare", function_of("prepare"), replace(config, inputs=str(ROOT)), folder)
    return folder


class Command(NamedTuple):
    """What dvc.yaml says of how a stage is run."""

    script: str
    panel: str
    folder: str  # of its results


def command_of(name: str) -> Command:
    """How stage `name` of dvc.yaml is run. Raises ConfigError where there is no such stage."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    if name not in stages or "matrix" in stages[name]:
        raise ConfigError(f"sweep.stages: {name} is no stage of dvc.yaml; there are {', '.join(stages)}")
    words = stages[name]["cmd"].split()
    return Command(words[2].removeprefix("pipelines."), words[4], words[-1].removeprefix("out="))


def _for_panel(config: Config, panel: str) -> Config:
    """The chain's experiments describe its target, whose colour the grey sensitive images do not have."""
    if panel == "private" and config.data.channels == CHANNELS["coloured"]:
        return replace(config, data=replace(config.data, channels=1))
    return config


def _link_inputs(root: Path, deps: Sequence[str], made: Sequence[str], instead: Mapping[str, str]) -> None:
    for dep in deps:
        path = root / dep
        if path.exists() or any(dep == folder or dep.startswith(f"{folder}/") for folder in made):
            continue
        target = next((dep.replace(a, b, 1) for a, b in instead.items() if dep.startswith(f"{a}/")), dep)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link whose target is gone
        path.symlink_to(ROOT / target)


def alone(fingerprint: str) -> FileLock:
    """Held while a result is looked for and made: jobs beside each other share its checkpoints."""
    lock = ROOT / ".ckpt" / f"{fingerprint}.lock"
    lock.parent.mkdir(exist_ok=True)
    return FileLock(lock)


def _beside(root: Path, folder: str) -> list[Path]:
    """The same folder of the sweep's other jobs."""
    return sorted(root.parent.glob(f"*/{folder}"))


def _result(fingerprint: str, folders: Iterable[Path]) -> Path | None:
    """The first of `folders` that holds the finished result called `fingerprint`."""
    for folder in folders:
        record = folder / "run.json"
        if record.exists() and read_json(record)["fingerprint"] == fingerprint:
            return folder
    return None
