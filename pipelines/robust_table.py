"""Self-training from data to diagnosis in one job; a multirun of it makes the table of results.

`python -m pipelines.robust_table -m +sweep=robust_table`; not a stage. A job is
one setting at one seed and runs the stages `robust_*` in a folder of its own.
"""

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from pipelines.stage import ROOT, function_of, run_stage
from triptych.config import Config, load
from triptych.data.files import read_json, write_json
from triptych.errors import TriptychError

CHAIN = {
    "prepare": "data/prepared/real",
    "robust_shift": "data/prepared/shifted",
    "robust_source": "out/robust/source",
    "robust_adapt": "out/robust/adapt",
    "robust_diagnose": "out/robust/diagnose",
}


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    try:
        config = load(values)
        job = Path(HydraConfig.get().runtime.output_dir)
        if not (job / "metrics.json").exists():
            run_job(config, job, HydraConfig.get().runtime.choices["experiment"])
    except TriptychError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {error}")


def run_job(config: Config, job: Path, name: str) -> None:
    """Run the chain in `job`; what is left is the diagnosis, its figures and `metrics.json`."""
    cpu, wall = time.process_time(), time.monotonic()
    root = job / "chain"
    for part in ("src", "pipelines"):
        _link(root / part, ROOT / part)
    here = replace(config, inputs=str(root), out=None)
    for stage, folder in CHAIN.items():
        if stage == "prepare":
            _link(root / folder, prepared(here, job.parents[1] / f"prepared-{config.data.name}"))
        else:
            run_stage(stage, function_of(stage), here, root / folder)
    diagnosis = root / CHAIN["robust_diagnose"]
    metrics = read_json(diagnosis / "metrics.json")
    for file in sorted(diagnosis.iterdir()):
        if file.name != "metrics.json":
            shutil.move(file, job / file.name)
    shutil.rmtree(root)
    seconds = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - wall}
    facts = {"setting": name, "seed": config.seed, "objective": config.robust.objective}
    write_json(job / "metrics.json", {**facts, **metrics, **seconds})


def prepared(config: Config, folder: Path) -> Path:
    """The prepared data set, made once for all jobs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "run.json").exists():
            run_stage("prepare", function_of("prepare"), replace(config, inputs=str(ROOT)), folder)
    return folder


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink():
        path.symlink_to(target.resolve())


class Table(Callback):
    """Hydra tells it when all jobs are done: the table and its figure."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        from triptych.report.robust_table import draw, markdown, read_jobs

        folder = Path(config.hydra.sweep.dir)
        if jobs := read_jobs(folder):
            (folder / "table.md").write_text(markdown(jobs))
            draw(jobs, folder / "table.png")


if __name__ == "__main__":
    main()
