"""What each panel costs and gains on the chain.

`python -m pipelines.hinge_ablation -m +sweep=hinge_ablation`; not a stage. With
`hinge.source=real` the chain is trained on the sensitive images themselves, for
comparison alone, and nothing of it is certified. A job runs the chain up to its
int8 network, whose answers the board repeats byte for byte (`hinge_measure`);
jobs that differ in self-training alone share what comes before.
"""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from pipelines.stage import FUNCTIONS, ROOT, Stage, run_stage
from triptych.config import Config, load
from triptych.data.files import read_json, write_json
from triptych.errors import TriptychError
from triptych.report.waterfall import draw, read_jobs, summarise
from triptych.tracking.fingerprint import read_declaration

CHAIN = {
    "hinge_data": "hinge_data",
    "hinge_space": "tiny_space",
    "hinge_supernet": "tiny_supernet",
    "hinge_search": "tiny_search",
    "hinge_adapt": "hinge_adapt",
    "hinge_quantize": "tiny_quantize",
}
SOURCES = {"synthetic": "out/private/synthetic", "real": "data/prepared/real"}
REPORTED = ("subnet_accuracy", "int8_accuracy")


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    try:
        config = load(values)
        job = Path(HydraConfig.get().runtime.output_dir)
        root = job.parent / f"chain-{config.hinge.source}-{config.seed}"
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            metrics = run_chain(replace(config, inputs=str(root)), root)
        settings = {"source": config.hinge.source, "self_training": config.hinge.self_training}
        write_json(job / "metrics.json", {**settings, "seed": config.seed, **metrics})
    except TriptychError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {error}")


def run_chain(config: Config, root: Path) -> dict[str, float]:
    """Run the stages in `root`, those that are up to date excepted; returns the accuracies on the target."""
    _link(root, "src", "src")
    _link(root, "pipelines", "pipelines")
    _link(root, "data/prepared/real", "data/prepared/real")
    _link(root, "out/private/synthetic", SOURCES[config.hinge.source])
    for name, script in CHAIN.items():
        import_module(f"pipelines.{script}")
        out = root / "out/hinge" / name.removeprefix("hinge_")
        if not _up_to_date(name, config, out):
            run_stage(name, FUNCTIONS[script], config, out)
    metrics = read_json(root / "out/hinge/quantize/metrics.json")
    return {name: metrics[name] for name in REPORTED}


def _link(root: Path, name: str, target: str) -> None:
    """What a stage expects at `name` is what the checkout has at `target`."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink():
        path.symlink_to(ROOT / target)


def _up_to_date(name: str, config: Config, out: Path) -> bool:
    record = out / "run.json"
    stage = Stage(read_declaration(ROOT, name), config, Path(config.inputs), out)
    return record.exists() and read_json(record)["fingerprint"] == stage.fingerprint


class Waterfall(Callback):
    """Hydra tells it when all jobs are done: the figure and the table over seeds."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        folder = Path(config.hydra.sweep.dir)
        jobs = read_jobs(folder)
        if jobs:
            write_json(folder / "ablation.json", summarise(jobs))
            draw(jobs, folder / "waterfall.png")


if __name__ == "__main__":
    main()
