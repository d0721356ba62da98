"""Self-training from data to diagnosis in one job; a multirun of it makes the tables of results.

`python -m pipelines.robust_table -m +sweep=<name>` with robust_table (the results),
robust_verdict, robust_select or robust_rivals; not a stage. A job is one setting
at one seed and runs the stages `robust_*` in a folder of its own, which goes
when it has finished. A sweep that breaks off goes on where it was.
"""

import shutil
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from pipelines.jobs import job_app, prepared, run_stages
from triptych.config import Config
from triptych.data.files import write_json

STAGES = ("robust_shift", "robust_source", "robust_adapt", "robust_diagnose")
COMMON = ("experiment=", "seed=", "+sweep=", "robust.rivals=")  # overrides that name no setting of their own


@job_app
def main(config: Config, job: Path) -> None:
    if not (job / "metrics.json").exists():
        run_job(config, job, HydraConfig.get().runtime.choices["experiment"])


def run_job(config: Config, job: Path, name: str) -> None:
    """Run the chain in `job`; what is left is the diagnosis, its figures and `metrics.json`."""
    cpu, wall = time.process_time(), time.monotonic()
    chain = job / "chain"
    data = prepared(config, job.parents[1] / f"prepared-{config.data.name}")
    metrics = run_stages(STAGES, config, chain, instead={"data/prepared/real": str(data.resolve())})
    for file in sorted((chain / "out/robust/diagnose").iterdir()):
        if file.name != "metrics.json":
            shutil.move(file, job / file.name)
    shutil.rmtree(chain)
    seconds = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - wall}
    robust = config.robust
    facts = {
        "setting": name,
        "overrides": sorted(each for each in HydraConfig.get().overrides.task if not each.startswith(COMMON)),
        "seed": config.seed,
        "objectives": robust.objectives,
        "p": robust.shift.p,
    }
    write_json(job / "metrics.json", {**facts, **metrics, **seconds})


class Table(Callback):
    """Hydra tells it when all jobs are done: the table, its figure, and what would be chosen unlabelled."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        from triptych.report.robust_table import choose, draw, markdown, read_jobs

        folder = Path(config.hydra.sweep.dir)
        if jobs := read_jobs(folder):
            (folder / "table.md").write_text(markdown(jobs))
            draw(jobs, folder / "table.png")
            experiment, overrides, objective = choose(jobs)
            chosen = [f"experiment={experiment}", *overrides, f"robust.objective={objective}"]
            write_json(folder / "choice.json", chosen)


class Verdicts(Callback):
    """The same for the verdict before self-training: how often it is right, and the figure."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        from triptych.config.robust import TrustConfig
        from triptych.report.robust_verdict import draw, markdown, read_outcomes

        folder, limits = Path(config.hydra.sweep.dir), TrustConfig(**config.robust.trust)
        if outcomes := read_outcomes(folder):
            (folder / "verdicts.md").write_text(markdown(outcomes, limits))
            draw(outcomes, limits, folder / "verdicts.png")


if __name__ == "__main__":
    main()
