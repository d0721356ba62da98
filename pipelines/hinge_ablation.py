"""What each panel costs and gains on the chain.

`python -m pipelines.hinge_ablation -m +sweep=hinge_ablation`; not a stage. With
`hinge.source=real` the chain is trained on the sensitive images themselves, for
comparison alone, and nothing of it is certified. A job runs the chain up to its
int8 network, whose answers the board repeats byte for byte (`hinge_measure`), and
reports it as float and with quantization after training alone, too; jobs that
differ in self-training alone share what comes before.
"""

import sys
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from pipelines.jobs import run_stages
from pipelines.stage import ROOT
from triptych.config import load
from triptych.data.files import write_json
from triptych.errors import TriptychError
from triptych.report.waterfall import draw, read_jobs, summarise

CHAIN = tuple(
    f"hinge_{name}" for name in ("data", "space", "instructions", "supernet", "search", "adapt", "quantize")
)
INSTEAD = {"synthetic": {}, "real": {"out/private/synthetic": "data/prepared/real"}}
REPORTED = ("subnet_accuracy", "post_training_accuracy", "int8_accuracy")


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    try:
        config = load(values)
        job = Path(HydraConfig.get().runtime.output_dir)
        hinge = config.hinge
        root = job.parent / f"chain-{hinge.source}-{config.seed}"
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            metrics = run_stages(CHAIN, config, root, instead=INSTEAD[hinge.source])
        settings = {"source": hinge.source, "self_training": hinge.self_training, "seed": config.seed}
        write_json(job / "metrics.json", {**settings, **{name: metrics[name] for name in REPORTED}})
    except TriptychError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {error}")


class Waterfall(Callback):
    """Hydra tells it when all jobs are done: the figure and the table over seeds."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        folder = Path(config.hydra.sweep.dir)
        if jobs := read_jobs(folder):
            write_json(folder / "ablation.json", summarise(jobs))
            draw(jobs, folder / "waterfall.png")


if __name__ == "__main__":
    main()
