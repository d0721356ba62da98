"""Flower's simulation engine: every client a virtual node, all on this machine."""

import logging
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from triptych.federated.clients import make_client_app

STORE = 100 << 20  # bytes of Ray's object store; a message is small


def simulate(main: Callable[[Grid], None], root: Path, *, clients: int, workers: int) -> None:
    """Run `main` as the server of `clients` clients, whose folders lie below `root`, in `workers` processes.

    What `main` raises is raised here.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)  # of its warnings, the server counts what matters
    app = ServerApp()

    @app.main()
    def serve(grid: Grid, context: Context) -> None:
        main(grid)

    run_simulation(
        app,
        make_client_app(root.absolute()),
        clients,
        backend_config={
            "client_resources": {"num_cpus": 1},
            "init_args": {
                "num_cpus": workers,
                "object_store_memory": STORE,
                "logging_level": "ERROR",
                "log_to_driver": False,
            },
        },
    )
