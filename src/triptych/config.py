"""The typed schema of every config group, and the checks on its values.

`conf/` holds the values; this file says which keys exist, their types, and what
is impossible. `load` is the one way from Hydra's mapping to a `Config`: a
mistyped key or an impossible value raises ConfigError before any work starts.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from triptych.errors import ConfigError

MISSING: Any = "???"


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`."""
    require(value in allowed, f"{key}={value} is unknown; choose one of {', '.join(allowed)}")


def positive(key: str, value: float) -> None:
    """Raise ConfigError unless `value` is above zero."""
    require(value > 0, f"{key}={value} must be above 0")


@dataclass
class DataConfig:
    """The data set: a private training split and a test split of labelled images."""

    name: str = MISSING
    image_size: int = MISSING
    channels: int = 1
    classes: int = 10
    train_size: int = MISSING
    test_size: int = MISSING
    split_seed: int = 0

    def check(self) -> None:
        choice("data.name", self.name, ("digits", "mnist", "fashion_mnist"))
        for key in ("image_size", "channels", "classes", "train_size", "test_size"):
            positive(f"data.{key}", getattr(self, key))


@dataclass
class PrivateConfig:
    """GS-WGAN: networks, schedule and privacy (the paper's symbols in brackets)."""

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""


@dataclass
class RobustConfig:
    """Self-training under a spurious colour."""

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""


@dataclass
class TinyConfig:
    """TinyNAS: search space, supernet, search and quantization."""

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""


@dataclass
class BoardConfig:
    """The microcontroller: limits in bytes."""

    name: str = MISSING
    cpu: str = "cortex_m7"
    sram: int = MISSING
    flash: int = MISSING

    def check(self) -> None:
        choice("board.cpu", self.cpu, ("cortex_m4", "cortex_m7"))
        for key in ("sram", "flash"):
            positive(f"board.{key}", getattr(self, key))
            require(
                getattr(self, key) % 1024 == 0,
                f"board.{key}={getattr(self, key)} must be whole KiB (a multiple of 1024 bytes)",
            )


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
class Config:
    """Everything a result depends on, with the data and the code."""

    data: DataConfig = field(default_factory=DataConfig)
    private: PrivateConfig = field(default_factory=PrivateConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    board: BoardConfig = field(default_factory=BoardConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = 0
    inputs: str = "."  # root of the files that stages read
    out: str | None = None  # folder of this stage's results; null is Hydra's run folder

    def check(self, present: Collection[str]) -> None:
        """Check the groups that are present, then what they demand of each other.

        Raises ConfigError where a value, or a combination of values, is impossible.
        """
        require(self.seed >= 0, f"seed={self.seed} must not be negative")
        for group in ("data", "private", "robust", "tiny", "board", "trainer"):
            if group in present:
                getattr(self, group).check()


def load(values: Mapping[str, Any] | DictConfig) -> Config:
    """Check keys, types and values, and return plain dataclasses.

    A stage's `params/<panel>.yaml` holds only the groups of its panel; the others
    stay unset. Raises ConfigError that names the key, the value and what is allowed.
    """
    try:
        merged: Any = OmegaConf.merge(OmegaConf.structured(Config), values)
        present = [str(key) for key in values]
        config = Config(**{key: _plain(merged[key]) for key in present})
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"config key {error.full_key}: {reason}; see conf/ for the keys") from None
    config.check(present)
    return config


def _plain(value: Any) -> Any:  # noqa: ANN401  # any config value
    return OmegaConf.to_object(value) if isinstance(value, DictConfig) else value
