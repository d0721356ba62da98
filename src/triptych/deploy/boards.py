"""Boards by name, those of `conf/board/`, which the wheel carries along; and others by their files."""

from importlib.resources import files
from pathlib import Path

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from triptych.config.tiny import BoardConfig
from triptych.errors import ConfigError

CHECKOUT = Path(__file__).parents[3] / "conf/board"


def _read_boards() -> dict[str, BoardConfig]:
    packed = files("triptych.deploy") / "board"
    folder = packed if packed.is_dir() else CHECKOUT
    texts = [file.read_text() for file in folder.iterdir() if file.name.endswith(".yaml")]
    values = [dict(OmegaConf.create(text)) for text in texts]
    boards = [BoardConfig(**{str(key): value for key, value in each.items()}) for each in values]
    return {board.name: board for board in sorted(boards, key=lambda board: board.name)}


BOARDS = _read_boards()


def find_board(name: str) -> BoardConfig:
    """A known board by its name, or one that a YAML file describes like those of `conf/board/`.

    Raises ConfigError where there is neither, or where the file is no board.
    """
    if name in BOARDS:
        return BOARDS[name]
    if not name.endswith((".yaml", ".yml")):
        known = ", ".join(BOARDS)
        raise ConfigError(
            f"board {name} is unknown; choose one of {known}, or give a YAML file with its memory"
        )
    try:
        given = yaml.safe_load(Path(name).read_text())
        if not isinstance(given, dict) or any(isinstance(value, dict | list) for value in given.values()):
            raise ValueError("it is no table of single values")  # aliases that multiply, among others
        values = OmegaConf.merge(OmegaConf.structured(BoardConfig), given)
        board = BoardConfig(**{str(key): value for key, value in values.items()})
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{name} is no board ({reason}); it needs name, cpu, sram and flash") from error
    board.check()
    return board
