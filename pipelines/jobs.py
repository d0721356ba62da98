"""Several stages in one job: what a sweep runs instead of `dvc repro`, in a folder of its own.

A job's folder is laid out as a checkout. What its stages read and do not make
themselves is linked from the real one, so run the pipeline once before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from pipelines.stage import ROOT, Stage, function_of, run_stage
from triptych.config import Config
from triptych.data.files import read_json
from triptych.errors import ConfigError
from triptych.tracking.fingerprint import read_declaration


def run_stages(
    names: Sequence[str], config: Config, root: Path, *, instead: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run the stages in `root`, those that are up to date excepted; returns their metrics, later ones first.

    instead  folders of the checkout that stand for others

    Raises ConfigError where a name is not in dvc.yaml.
    """
    config = replace(config, inputs=str(root))
    folders = {name: _script_and_folder(name) for name in names}
    made = [folder for _, folder in folders.values()]
    metrics: dict[str, Any] = {}
    for name, (script, folder) in folders.items():
        _link_inputs(root, read_declaration(ROOT, name).deps, made, instead or {})
        if not _up_to_date(name, config, root / folder):
            run_stage(name, function_of(script), config, root / folder)
        metrics |= read_json(root / folder / "metrics.json")
    return metrics


def prepared(config: Config, folder: Path) -> Path:
    """The prepared data set, made once for all jobs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "run.json").exists():
            run_stage("prepare", function_of("prepare"), replace(config, inputs=str(ROOT)), folder)
    return folder


def _script_and_folder(name: str) -> tuple[str, str]:
    """The script that runs stage `name` of dvc.yaml, and its results folder."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    if name not in stages or "matrix" in stages[name]:
        raise ConfigError(f"sweep.stages: {name} is no stage of dvc.yaml; there are {', '.join(stages)}")
    words = stages[name]["cmd"].split()
    return words[2].removeprefix("pipelines."), words[-1].removeprefix("out=")


def _link_inputs(root: Path, deps: Sequence[str], made: Sequence[str], instead: Mapping[str, str]) -> None:
    for dep in deps:
        path = root / dep
        if path.exists() or any(dep == folder or dep.startswith(f"{folder}/") for folder in made):
            continue
        target = next((dep.replace(a, b, 1) for a, b in instead.items() if dep.startswith(f"{a}/")), dep)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link whose target is gone
        path.symlink_to(ROOT / target)


def _up_to_date(name: str, config: Config, out: Path) -> bool:
    record = out / "run.json"
    stage = Stage(read_declaration(ROOT, name), config, Path(config.inputs), out)
    return record.exists() and read_json(record)["fingerprint"] == stage.fingerprint
