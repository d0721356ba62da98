"""Show the MLflow store in a browser: `make dashboard`, or `PORT=5001 make dashboard`."""

import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.console import Console

from pipelines.stage import ROOT
from triptych.config import load
from triptych.errors import ConfigError, TriptychError
from triptych.tracking import mlflow as tracking


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    port = os.environ.get("PORT", "5000")
    try:
        settings = load(values).tracking
        if settings.uri is None:
            raise ConfigError("tracking.uri is null: there is no store to show")
        experiment = tracking.experiment_id(tracking.connect(settings.uri), settings.experiment)
    except TriptychError as error:
        sys.exit(f"error: {error}")
    # straight to the table of runs: MLflow's front page shows tools for language models
    page = f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    Console().print(f"Open [bold]{page}[/bold] (Ctrl-C ends it)", soft_wrap=True)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # half the memory, no use here
    command = Path(sys.executable).with_name("mlflow")
    store = tracking.resolve_uri(settings.uri)
    os.execv(command, [str(command), "ui", "--backend-store-uri", store, "--port", port, "--workers", "1"])


if __name__ == "__main__":
    main()
