"""The schema: what is refused before any work, and with which words."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from triptych.config import Config, load
from triptych.errors import ConfigError

CONF = str(Path(__file__).parents[2] / "conf")
EXPERIMENTS = sorted(
    path.relative_to(CONF, "experiment").with_suffix("").as_posix()
    for path in Path(CONF, "experiment").rglob("*.yaml")
)


def composed(*overrides: str) -> Config:
    with initialize_config_dir(CONF, version_base="1.3"):
        return load(compose("config", overrides=list(overrides)))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_valid(experiment: str):
    """A shipped experiment that fails its own schema helps nobody."""
    assert composed(f"experiment={experiment}").data.classes > 1


@pytest.mark.parametrize("board", sorted(path.stem for path in Path(CONF, "board").glob("*.yaml")))
def test_every_board_is_valid(board: str):
    """Limits are whole KiB, as the simulator maps them."""
    assert composed(f"board={board}").board.sram % 1024 == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+data.nmae=mnist", r"data\.nmae.*not in 'DataConfig'"),
        ("data.train_size=many", r"data\.train_size.*'many'"),
        ("data.train_size=0", r"data\.train_size=0 must be above 0"),
        ("data.name=cifar", r"data\.name=cifar is unknown; choose one of digits"),
        ("board.sram=1000", r"board\.sram=1000 must be whole KiB"),
        ("board.cpu=z80", r"board\.cpu=z80 is unknown; choose one of cortex_m4, cortex_m7"),
        ("trainer.accelerator=abacus", r"trainer\.accelerator=abacus is unknown"),
        ("trainer.devices=2", r"trainer\.threads=2 must be 1 with trainer\.devices=2"),
        ("trainer.threads=0", r"trainer\.threads=0 must be above 0"),
        ("seed=-1", r"seed=-1 must not be negative"),
    ],
)
def test_mistake_is_named_with_its_value(override: str, message: str):
    """Hours of training must not start on a typing error."""
    with pytest.raises(ConfigError, match=message):
        composed(override)


def test_store_of_the_environment_holds_where_params_say_nothing(monkeypatch: pytest.MonkeyPatch):
    """A team names its server once; `params/` leaves tracking out."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert load({"seed": 0}).tracking.uri == "http://server:5000"


def test_groups_that_a_panel_lacks_are_not_checked():
    """A stage reads only its panel's parameters."""
    with initialize_config_dir(CONF, version_base="1.3"):
        part = OmegaConf.masked_copy(compose("config"), ["data", "seed"])
    assert load(part).data.name == "digits"
