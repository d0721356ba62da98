"""What each panel costs and gains on the chain.

`python -m pipelines.hinge_ablation -m +sweep=hinge_ablation`; not a stage. With
`hinge.source=real` the chain is trained on the sensitive images themselves, for
comparison alone, and nothing of it is certified. A job runs the chain up to its
int8 network, whose answers the board repeats byte for byte (`hinge_measure`), and
reports it as float and with quantization after training alone, too; jobs that
differ in self-training alone share what comes before.
"""

from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from pipelines.jobs import job_app, run_stages
from triptych.config import Config
from triptych.data.files import write_json
from triptych.report.waterfall import draw, read_jobs, summarise

CHAIN = tuple(
    f"hinge_{name}" for name in ("data", "space", "instructions", "supernet", "search", "adapt", "quantize")
)
INSTEAD = {"synthetic": {}, "real": {"out/private/synthetic": "data/prepared/real"}}
REPORTED = ("subnet_accuracy", "post_training_accuracy", "int8_accuracy")


@job_app
def main(config: Config, job: Path) -> None:
    hinge = config.hinge
    root = job.parent / f"chain-{hinge.source}-{config.seed}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        metrics = run_stages(CHAIN, config, root, instead=INSTEAD[hinge.source])
    settings = {"source": hinge.source, "self_training": hinge.self_training, "seed": config.seed}
    write_json(job / "metrics.json", {**settings, **{name: metrics[name] for name in REPORTED}})


class Waterfall(Callback):
    """Hydra tells it when all jobs are done: the figure and the table over seeds."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        folder = Path(config.hydra.sweep.dir)
        if jobs := read_jobs(folder):
            write_json(folder / "ablation.json", summarise(jobs))
            draw(jobs, folder / "waterfall.png")


if __name__ == "__main__":
    main()
