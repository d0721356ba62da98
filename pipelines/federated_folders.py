"""Folders and app of a federation for Flower's deployment: SuperLink and SuperNodes.

    python -m pipelines.federated_folders private.method=fed_gswgan out=federation

Not a stage. `federation/agreement.json` is the server's; each `federation/clients/<n>`
goes to the client that it is named after (or holds its own records instead);
`federation/app` is what `flwr run` takes. See docs/federated.md.
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from pipelines.stage import ROOT
from triptych.config import Config, load
from triptych.errors import ConfigError, TriptychError

APP = """[project]
name = "triptych-federated"
version = "1.0.0"
description = "Federated training of a generator"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "triptych"

[tool.flwr.app.components]
serverapp = "triptych.federated.deployed:server_app"
clientapp = "triptych.federated.deployed:client_app"

[tool.flwr.app.config]
folder = ""
"""


def write_folders(config: Config, out: Path) -> int:
    """Write the folders of server and clients, and the app; the number of clients."""
    from triptych.config.private import FEDERATED
    from triptych.data.files import write_atomic
    from triptych.data.prepared import read_card, read_split
    from triptych.federated.folders import found_federation
    from triptych.private.budget import affordable_steps, calibrated

    if config.private.method not in FEDERATED:
        raise ConfigError(
            f"private.method={config.private.method} has no clients; choose {' or '.join(FEDERATED)}"
        )
    private = calibrated(config.private)
    affordable_steps(private)
    real = Path(config.inputs) / "data/prepared/real"
    server = found_federation(out, config, private, read_split(real, "train"), read_card(real))
    write_atomic(out / "app" / "pyproject.toml", APP.encode())
    return server.own.clients


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    try:
        config = load(values)
        out = Path(config.out or HydraConfig.get().runtime.output_dir)
        clients = write_folders(config, out)
    except TriptychError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{out}: server, {clients} clients and the app")  # noqa: T201  # the command's answer


if __name__ == "__main__":
    main()
