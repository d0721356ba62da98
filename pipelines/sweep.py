"""A sweep over several stages: `python -m pipelines.sweep -m +sweep=<name>`, the names in `conf/sweep/`.

Each job runs `sweep.stages` in a folder of its own and returns the metrics named
in `sweep.report`, which are the objectives of a sweeper that has some. Repeating
a sweep with the same `hydra.sweep.dir` goes on where it was interrupted: stages
that are up to date are not run again. At the end `sweep.csv` has one row a job.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from pipelines.jobs import command_of, job_app, run_stages
from triptych.config import Config
from triptych.data.files import read_json, write_atomic, write_json
from triptych.errors import ConfigError
from triptych.tracking import mlflow as tracking
from triptych.tracking.pipeline import Child, publish_pipeline


@job_app
def main(config: Config, job: Path) -> tuple[float, ...]:
    sweep = config.sweep
    if not sweep.stages:
        raise ConfigError("sweep.stages=[] names no stage; choose a sweep of conf/sweep, as +sweep=boards")
    metrics = run_stages(sweep.stages, config, job)
    missing = [name for name in sweep.report if name not in metrics]
    if missing:
        raise ConfigError(f"sweep.report: no stage of {sweep.stages} measures {missing[0]}")
    settings = dict(item.split("=", 1) for item in HydraConfig.get().overrides.task)
    report = {name: float(metrics[name]) for name in sweep.report}
    write_json(job / "report.json", {"settings": settings, "report": report})
    if config.tracking.uri:
        with tracking.tolerate():
            _publish(config, job, settings)
    return tuple(report.values())


def _publish(config: Config, job: Path, settings: Mapping[str, str]) -> None:
    """The job as one run above those of its stages: what the dashboard compares."""
    assert config.tracking.uri is not None
    client, experiment = tracking.connect(config.tracking.uri), config.tracking.experiment
    folders = [job / command_of(name).folder for name in config.sweep.stages]
    children = [
        Child(tracking.publish(client, experiment, folder, private=config.tracking.private), folder)
        for folder in folders
    ]
    told = " ".join(f"{key}={value}" for key, value in settings.items())
    tags = {"mlflow.runName": f"{job.parent.name}/{job.name}", "triptych.settings": told}
    publish_pipeline(client, experiment, "sweep", children, tags=tags)


class Table(Callback):
    """Hydra tells it when all jobs are done: one table of settings and metrics."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        folder = Path(config.hydra.sweep.dir)
        paths = sorted(
            folder.glob("*/report.json"), key=lambda path: (len(path.parent.name), path.parent.name)
        )
        jobs = [read_json(path) for path in paths]
        write_atomic(folder / "sweep.csv", table(jobs).encode())


def table(jobs: Sequence[Mapping[str, Any]]) -> str:
    """CSV of the settings that differ between the jobs, and of what each reports."""
    settings = list(dict.fromkeys(name for job in jobs for name in job["settings"]))
    varied = [name for name in settings if len({job["settings"].get(name) for job in jobs}) > 1]
    reported = list(dict.fromkeys(name for job in jobs for name in job["report"]))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*varied, *reported])
    for job in jobs:
        writer.writerow(
            [job["settings"].get(name) for name in varied] + [job["report"][name] for name in reported]
        )
    return text.getvalue()


if __name__ == "__main__":
    main()
