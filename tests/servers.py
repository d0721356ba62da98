"""Real servers for tests: MLflow, PostgreSQL and an S3-compatible store."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Process = subprocess.Popen[bytes]
PATIENCE = 120  # seconds, on a machine with much else to do


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill(server: Process) -> None:
    """End a server and its workers at once, as a crash would."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def wait_until(answers: Callable[[], object], server: Process) -> None:
    """Return when `answers` raises no OSError any more."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            answers()
            return
        except OSError:
            assert server.poll() is None, f"the server ended with {server.returncode}"
            time.sleep(0.2)
    raise AssertionError("the server does not answer")


def start(*command: str) -> Process:
    """A server in a process group of its own, silent."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, start_new_session=True, stdout=quiet, stderr=quiet)


def start_mlflow(backend: str, artifacts: str, port: int) -> Process:
    """An MLflow server, ready to answer."""
    stores = ("--backend-store-uri", backend, "--artifacts-destination", artifacts)
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    server = start(sys.executable, "-m", "mlflow", "server", *stores, *where)
    wait_until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close(), server)
    return server


class Postgres:
    """A PostgreSQL server with an empty database; skips the test where none is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"postgresql+psycopg2://tester@127.0.0.1:{self.port}/postgres"
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "nobody")
        init = [program("initdb"), "-D", f"{folder}/data", "-U", "tester", "--auth=trust", "--no-sync"]
        subprocess.run([*unprivileged(), *init], check=True, capture_output=True)

    def start(self) -> None:
        """Start or restart it on the same data."""
        options = ("-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port), "-F")
        self.server = start(*unprivileged(), program("postgres"), "-D", f"{self.folder}/data", *options)
        wait_until(lambda: socket.create_connection(("127.0.0.1", self.port), 5).close(), self.server)

    def kill(self) -> None:
        """End it as a crash would."""
        kill(self.server)


def program(name: str) -> str:
    """The path of a program, PostgreSQL's own folder included; skips the test where there is none."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(packaged[-1]) if packaged else None)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: postgresql, util-linux)")
    return found


def unprivileged() -> list[str]:
    """How to run a program as nobody where this process is root."""
    if os.geteuid():
        return []
    return [program("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server in a folder that another user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="triptych-"))
    try:
        made = Postgres(folder)
        made.start()
        try:
            yield made
        finally:
            made.kill()
    finally:
        shutil.rmtree(folder)


@contextmanager
def s3(bucket: str) -> Iterator[None]:
    """An S3-compatible server with one bucket, named to its clients by the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    where = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", where)
        patch.setenv("MLFLOW_S3_ENDPOINT_URL", where)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket=bucket)
        try:
            yield
        finally:
            server.stop()
