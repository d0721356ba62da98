"""A checkout's configuration, composed as the pipeline composes it."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from triptych.config import Config, load
from triptych.errors import ConfigError


def composed(root: Path, overrides: list[str]) -> Config:
    """The checked configuration. Raises ConfigError where there is none or an override is wrong."""
    folder = (root / "conf").resolve()
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{folder} holds no config.yaml; run in a checkout, or name it with --root")
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return load(compose("config", overrides=overrides))
    except HydraException as error:
        raise ConfigError(" ".join(str(error).split())) from error
