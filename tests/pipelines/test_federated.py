"""A federation in Flower's simulation engine and on its servers, through the commands that a user runs."""

import json
import os
import shutil
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.local_grid import LocalGrid
from tests.pipelines.conftest import Checkout
from tests.servers import PATIENCE, free_port, kill, start, wait_until
from triptych.federated.agreement import read_party
from triptych.federated.clients import make_client_app
from triptych.federated.server import serve

METHOD = ("private.method=fed_gswgan", "private.epsilon_budget=100", "tracking.uri=null", "inputs=fed")


@pytest.fixture(scope="module")
def checkout(checkout: Checkout) -> Checkout:
    """With the prepared data of this method in `fed/`."""
    (checkout.path / "fed").mkdir()
    for code in ("src", "pipelines"):
        (checkout.path / "fed" / code).symlink_to(checkout.path / code)
    checkout.stage("prepare", *METHOD, "out=fed/data/prepared/real")
    return checkout


def test_simulated_federation_ends_in_a_certificate_of_clients(checkout: Checkout):
    """Ray's processes, the engine's messages and the stage's files, none of which the unit tests have."""
    checkout.stage("private_warm_start", *METHOD, "out=fed/out/private/warm_start")
    checkout.stage("private_train", *METHOD, "out=fed/out/private/train")
    out = checkout.path / "fed/out/private/train"
    metrics = json.loads((out / "metrics.json").read_text())
    certificate = json.loads((out / "certificate.json").read_text())
    assert certificate["adjacency"] == "replace-one client, with all its records"
    assert (metrics["clients"], metrics["rounds"], metrics["answers"]) == (12, 3, 36)
    assert metrics["bytes_up"] > 36 * 16 * 64 * 4
    assert 90 < certificate["epsilon"] <= 100


@pytest.fixture
def flower(checkout: Checkout, monkeypatch: pytest.MonkeyPatch):
    """Starts Flower's own servers in the clone's environment, and ends them."""
    home = checkout.path / "flower"
    home.mkdir()
    monkeypatch.setenv("FLWR_HOME", str(home))
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setenv("FLWR_DISABLE_UPDATE_CHECK", "1")
    monkeypatch.setenv("PYTHONPATH", str(checkout.path / "src"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    servers = []

    def run(*command: str):
        servers.append(start(*command))
        return servers[-1]

    yield run
    for server in reversed(servers):  # its own children watch for its end
        server.terminate()
        kill(server)


def test_superlink_and_supernodes_end_where_one_process_does(checkout: Checkout, flower):
    """Two clients with folders of their own, over HTTP on loopback: what a user is told to type."""
    size = ("experiment=smoke", "private.fed_gswgan.clients=2", "private.fed_gswgan.steps=1")
    checkout.run(sys.executable, "-m", "pipelines.federated_folders", *size, *METHOD, "out=federation")
    folder, twin = checkout.path / "federation", checkout.path / "twin"
    shutil.copytree(folder, twin)

    port = free_port()
    address = f"127.0.0.1:{port}"
    connection = f'[superlink.here]\naddress = "{address}"\ninsecure = true\n'
    (checkout.path / "flower/config.toml").write_text(connection)
    http = ("--host", "127.0.0.1", "--port", str(port))
    link = flower("flower-superlink", "--insecure", "--disable-runtime-dependency-installation", *http)
    wait_until(lambda: urllib.request.urlopen(f"http://{address}/health", timeout=5).close(), link)
    for client in sorted((folder / "clients").iterdir()):
        where = ("--superlink", address, "--port", str(free_port()))
        flower("flower-supernode", "--insecure", *where, "--node-config", f'folder="{client}"')
    checkout.run("flwr", "run", str(folder / "app"), "here", "--run-config", f'folder="{folder}"')
    deadline = time.monotonic() + 2 * PATIENCE
    while not (folder / "certificate.json").exists():
        assert time.monotonic() < deadline, "the run does not end"
        time.sleep(0.5)

    (row,) = json.loads((folder / "rounds.json").read_text())
    assert (row["asked"], row["answered"], row["refused"], row["silent"]) == (2, 2, 0, 0)
    assert 90 < json.loads((folder / "certificate.json").read_text())["epsilon"] <= 100
    alone, rows = serve(read_party(twin), LocalGrid(make_client_app(twin / "clients"), 2))
    assert rows == [row]
    for name, value in load_file(folder / "generator.safetensors").items():
        assert torch.equal(value, alone.state_dict()[name])
