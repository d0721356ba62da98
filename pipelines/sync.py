"""Make MLflow show what the results on disk say: `python -m pipelines.sync`.

Every stage publishes its own results; this repeats it for all of them, so that
stages restored from DVC's cache, and those that ran while the store was away,
are there too. Repeating it changes nothing.
"""

from collections.abc import Iterator
from pathlib import Path

import hydra
from omegaconf import DictConfig

from pipelines.stage import ROOT
from triptych.config import load
from triptych.tracking import mlflow as tracking


def result_folders(root: Path) -> Iterator[Path]:
    """The folders of complete stages."""
    for top in ("data/prepared", "out"):
        yield from sorted(path.parent for path in (root / top).glob("**/run.json"))


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    config = load(values)
    if config.tracking.uri is None:
        return
    client = tracking.connect(config.tracking.uri)
    for folder in result_folders(ROOT):
        tracking.publish(client, config.tracking.experiment, folder, private=config.tracking.private)


if __name__ == "__main__":
    main()
