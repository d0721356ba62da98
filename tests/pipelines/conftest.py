"""A checkout of the working tree in which the pipeline runs as a user runs it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Checkout:
    """A clone with its own results, store and empty home."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its programs see: its own code and home."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "DVC"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.path / "src"),
            "HOME": str(self.path.parent / "home"),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone; stdout and stderr together in `stdout`."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} failed:\n{done.stdout}")
        return done

    def stage(self, name: str, *overrides: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one stage from `conf/`, at the smallest size."""
        return self.run("python", "-m", f"pipelines.{name}", "experiment=smoke", *overrides, check=check)

    def override(self, **panels: list[str]) -> None:
        """Write `overrides.yaml` at the smallest size."""
        lines = {"all": ["experiment=smoke"], "private": [], "robust": [], "tiny": [], "hinge": [], **panels}
        text = "".join(f"{panel}: {values!r}\n" for panel, values in lines.items())
        (self.path / "overrides.yaml").write_text(text)


def make_checkout(folder: Path) -> Checkout:
    """Copy what git tracks or would track, and commit it."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    checkout = Checkout(folder / "triptych")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (checkout.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, checkout.path / name)
    (folder / "home").mkdir()
    (checkout.path / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(checkout.path / "out", ignore_errors=True)
    checkout.override()
    checkout.run("git", "init", "--quiet")
    checkout.run("git", "add", "--all")
    author = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    checkout.run("git", *author, "commit", "--quiet", "--message", "Start")
    return checkout


def kill_after_checkpoint(
    clone: Checkout,
    stage: str,
    *overrides: str,
    by: signal.Signals = signal.SIGKILL,
    checkpoint: str = "*/last.ckpt",
) -> int:
    """Start the stage and kill it when it has moved on from its first checkpoint; its exit status."""
    command = [sys.executable, "-m", f"pipelines.{stage}", "experiment=smoke", *overrides]
    job = subprocess.Popen(command, cwd=clone.path, env=clone.environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(clone.path.glob(f".ckpt/*/{checkpoint}")):
        assert job.poll() is None, "the stage ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    job.send_signal(by)
    return job.wait(timeout=60)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return make_checkout(tmp_path_factory.mktemp("clone"))
