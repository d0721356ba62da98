"""The typed schema of every config group, and the checks on its values.

`conf/` holds the values; this file says which keys exist, their types, and what
is impossible. `load` is the one way from Hydra's mapping to a `Config`: a
mistyped key or an impossible value raises ConfigError before any work starts.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from triptych.config.checks import require
from triptych.config.data import DataConfig
from triptych.config.hinge import HingeConfig
from triptych.config.private import PrivateConfig
from triptych.config.robust import RobustConfig
from triptych.config.system import SweepConfig, TrackingConfig, TrainerConfig
from triptych.config.tiny import BoardConfig, TinyConfig
from triptych.errors import ConfigError


@dataclass
class Config:
    """Everything a result depends on, with the data and the code."""

    data: DataConfig = field(default_factory=DataConfig)
    private: PrivateConfig = field(default_factory=PrivateConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    board: BoardConfig = field(default_factory=BoardConfig)
    hinge: HingeConfig = field(default_factory=HingeConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    seed: int = 0
    stage: str | None = None  # its name in dvc.yaml, where one script serves several; null is the script's
    inputs: str = "."  # root of the files that stages read
    out: str | None = None  # folder of this stage's results; null is Hydra's run folder

    def check(self, present: Collection[str]) -> None:
        """Check the groups that are present, then what they demand of each other.

        Raises ConfigError where a value, or a combination of values, is impossible.
        """
        require(self.seed >= 0, f"seed={self.seed} must not be negative")
        for group in ("data", "private", "robust", "tiny", "board", "hinge", "trainer", "tracking"):
            if group in present:
                getattr(self, group).check()
        if {"private", "data"} <= set(present):
            self.private.check_data(self.data)
        if {"robust", "data"} <= set(present):
            self.robust.shift.check_data(self.data.train_size)
        if {"tiny", "data"} <= set(present):
            self.tiny.check_data(self.data.train_size)
        if {"tiny", "board"} <= set(present):
            self.tiny.check_board(self.board.sram, self.board.flash)


def load(values: Mapping[str, Any] | DictConfig) -> Config:
    """Check keys, types and values, and return plain dataclasses.

    A stage's `params/<panel>.yaml` holds only the groups of its panel; the others
    stay unset. Raises ConfigError that names the key, the value and what is allowed.
    """
    try:
        given = OmegaConf.create(dict(values))
        OmegaConf.resolve(given)  # else a reference to another key escapes the check of its type
        merged: Any = OmegaConf.merge(_schema(), given)
        present = [str(key) for key in values]
        config = Config(**{key: _plain(merged[key]) for key in present})
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"config key {error.full_key}: {reason}; see conf/ for the keys") from None
    config.check(present)
    return config


@cache
def _schema() -> DictConfig:
    """Made once a process: it takes longer than all else; `merge` works on a copy."""
    return OmegaConf.structured(Config)


def _plain(value: Any) -> Any:  # noqa: ANN401  # any config value
    return OmegaConf.to_object(value) if isinstance(value, DictConfig) else value
