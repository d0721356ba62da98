"""Count the instructions of every kind of layer of the chosen space: `python -m pipelines.instruction_table`.

    python -m pipelines.instruction_table experiment=digits out=<folder>

writes `<folder>/instructions_<cpu>.json`, which `tiny.search.instruction_table` names to the search. Not a
stage: the search of `make repro` goes by accuracy and memory alone. Reads `out/tiny/space/space.json`.
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from pipelines.stage import ROOT
from triptych.config import Config, load
from triptych.data.files import write_json
from triptych.engine.profile import instruction_table
from triptych.errors import ConfigError, TriptychError
from triptych.tiny.export import shape_graph
from triptych.tiny.files import read_space
from triptych.tiny.latency import covering


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    try:
        path = write_table(load(values))
    except TriptychError as error:
        sys.exit(f"error: {error}")
    print(path)  # noqa: T201  # the command's answer


def write_table(config: Config) -> Path:
    """Compile and simulate the subnets that cover the space; returns the file."""
    if config.out is None:
        raise ConfigError("out=null: say out=<folder>, where the table goes")
    space = read_space(Path(config.inputs) / "out/tiny/space/space.json", config.tiny.space, config.data)
    bits = config.tiny.quantization.weight_bits
    graphs = (shape_graph(space, arch, bits) for arch in covering(space))
    path = Path(config.out) / f"instructions_{config.board.cpu}.json"
    write_json(path, instruction_table(graphs, config.board, seed=config.seed))
    return path


if __name__ == "__main__":
    main()
