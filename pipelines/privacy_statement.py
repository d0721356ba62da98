"""Print what a config promises, without training: `python -m pipelines.privacy_statement [overrides]`.

Not a stage: it reads no data and writes no result.
"""

import sys

import hydra
from omegaconf import DictConfig
from rich.console import Console

from pipelines.stage import ROOT
from triptych.config import load
from triptych.errors import TriptychError
from triptych.private.budget import calibrated
from triptych.private.statement import privacy_statement
from triptych.report.statement import statement_table


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    try:
        statement = privacy_statement(calibrated(load(values).private))
    except TriptychError as error:
        sys.exit(f"error: {error}")
    Console().print(statement_table(statement))


if __name__ == "__main__":
    main()
