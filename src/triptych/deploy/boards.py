"""The boards that the command knows by name: those of `conf/board/`, which the wheel carries along."""

from importlib.resources import files
from pathlib import Path

from omegaconf import OmegaConf

from triptych.config.tiny import BoardConfig

CHECKOUT = Path(__file__).parents[3] / "conf/board"


def _read_boards() -> dict[str, BoardConfig]:
    packed = files("triptych.deploy") / "board"
    folder = packed if packed.is_dir() else CHECKOUT
    texts = [file.read_text() for file in folder.iterdir() if file.name.endswith(".yaml")]
    values = [dict(OmegaConf.create(text)) for text in texts]
    boards = [BoardConfig(**{str(key): value for key, value in each.items()}) for each in values]
    return {board.name: board for board in sorted(boards, key=lambda board: board.name)}


BOARDS = _read_boards()
