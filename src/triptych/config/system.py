"""Schema of where training runs and where results are shown."""

from dataclasses import dataclass, field

from triptych.config.checks import choice, positive


@dataclass
class TrainerConfig:
    """Where training runs."""

    accelerator: str = "cpu"
    devices: int = 1
    strategy: str = "auto"
    threads: int = 2
    progress_bar: bool = True

    def check(self) -> None:
        choice("trainer.accelerator", self.accelerator, ("cpu", "gpu", "auto"))
        positive("trainer.devices", self.devices)
        positive("trainer.threads", self.threads)


@dataclass
class TrackingConfig:
    """The MLflow store; null keeps results in files alone."""

    uri: str | None = "sqlite:///mlflow.db"
    experiment: str = "triptych"
    private: bool = False  # upload curves computed on private data


@dataclass
class SweepConfig:
    """What a job of `pipelines.sweep` runs and reports."""

    stages: list[str] = field(default_factory=list)  # of dvc.yaml, in order
    report: list[str] = field(default_factory=list)  # metrics; the objectives of a sweeper that has some
