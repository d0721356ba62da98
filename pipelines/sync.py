"""Make MLflow show what the results on disk say: `python -m pipelines.sync`.

Every stage publishes its own results; this repeats it for all of them, so that
stages restored from DVC's cache, and those that ran while the store was away,
are there too. Then it nests the stages of each panel below one parent run, and
registers the generator and the chain's network. Repeating it changes nothing.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import hydra
import yaml
from omegaconf import DictConfig

from pipelines.stage import ROOT
from triptych.config import Config, load
from triptych.errors import TriptychError
from triptych.tracking import mlflow as tracking
from triptych.tracking import registry
from triptych.tracking.pipeline import Child, publish_pipeline

COMMAND = re.compile(r"\$\{read\} (\w+) .*out=(\S+)")
CHAIN, GENERATOR = "out/hinge/chain", "out/private/train"


def result_folders(root: Path) -> Iterator[Path]:
    """The folders of complete stages."""
    for top in ("data/prepared", "out"):
        yield from sorted(path.parent for path in (root / top).glob("**/run.json"))


def panels(root: Path) -> dict[str, list[Path]]:
    """The result folder of every stage by panel, in the order of `dvc.yaml`."""
    found: dict[str, list[Path]] = {}
    for stage in yaml.safe_load((root / "dvc.yaml").read_text())["stages"].values():
        if match := COMMAND.search(stage["cmd"]):
            found.setdefault(match[1], []).append(root / match[2])
    return found


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    config = load(values)
    if config.tracking.uri is None:
        return
    try:
        _sync(config)
    except TriptychError as error:
        sys.exit(f"error: {error}")


def _sync(config: Config) -> None:
    assert config.tracking.uri is not None
    client, experiment = tracking.connect(config.tracking.uri), config.tracking.experiment
    runs = {
        folder: tracking.publish(client, experiment, folder, private=config.tracking.private)
        for folder in result_folders(ROOT)
    }
    for panel, folders in panels(ROOT).items():
        children = [Child(runs[folder], folder) for folder in folders if folder in runs]
        if children:
            publish_pipeline(client, experiment, panel, children)
    if (private := ROOT / GENERATOR) in runs:
        registry.register(client, runs[private], registry.generator(private))
    if (chain := ROOT / CHAIN) in runs:
        model = ROOT / "out/hinge/quantize/model.tflite"
        registry.register(client, runs[chain], registry.chain(model, chain / "certificate.json"))


if __name__ == "__main__":
    main()
