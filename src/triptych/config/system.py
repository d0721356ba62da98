"""Schema of where training runs and where results are shown."""

import os
from dataclasses import dataclass, field

from triptych.config.checks import choice, positive, require


@dataclass
class TrainerConfig:
    """Where training runs."""

    accelerator: str = "cpu"
    devices: int = 1  # of the supernet and the ensemble; smaller trainings take one
    threads: int = 2
    workers: int = 0  # processes that make batches, beside the one that trains
    progress_bar: bool = True

    def check(self) -> None:
        choice("trainer.accelerator", self.accelerator, ("cpu", "gpu", "auto"))
        positive("trainer.devices", self.devices)
        positive("trainer.threads", self.threads)
        require(self.workers >= 0, f"trainer.workers={self.workers} must not be negative; 0 starts none")
        require(
            self.devices == 1 or self.threads == 1,
            f"trainer.threads={self.threads} must be 1 with trainer.devices={self.devices}: "
            "processes are forked, threads are not",
        )


@dataclass
class TrackingConfig:
    """The MLflow store; null keeps results in files alone.

    `params/` leaves it out, so that no result depends on where it is shown.
    """

    uri: str | None = field(
        default_factory=lambda: os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    )
    experiment: str = "triptych"
    private: bool = False  # upload curves computed on private data
    system_interval: float | None = 10.0  # seconds between samples of the machine's load; null: none

    def check(self) -> None:
        if self.system_interval is not None:
            positive("tracking.system_interval", self.system_interval)


@dataclass
class SweepConfig:
    """What a job of `pipelines.sweep` runs and reports."""

    stages: list[str] = field(default_factory=list)  # of dvc.yaml, in order
    report: list[str] = field(default_factory=list)  # metrics; the objectives of a sweeper that has some
    point: dict[str, float] = field(default_factory=dict)  # values that vary together; others refer to them
