"""What this machine and this checkout have, and how to get what they lack."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from triptych.data.files import read_json
from triptych.deploy.boards import BOARDS
from triptych.errors import DataError

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "mlflow", "dvc", "hydra-core", "ai-edge-litert")
TOOLCHAIN = ("ziglang", "unicorn")
EXTRAS = {
    "hydra-optuna-sweeper": "sweep",
    "hydra-submitit-launcher": "slurm",
    "flwr": "federated",
    "psycopg2-binary": "team",
    "dvc-s3": "team",
}
PROGRAMS = {
    "arm-none-eabi-gcc": "a second compiler for the firmware (Debian: gcc-arm-none-eabi)",
    "chromium": "looks at the report in a test (Debian: chromium)",
}
DISK = 5 * 10**9  # bytes for results, cache and store


@dataclass(frozen=True)
class Finding:
    """One line: what was looked for, what was found, and what to do where it lacks."""

    topic: str
    name: str
    there: bool
    found: str
    fix: str = ""
    needed: bool = True


def examine(root: Path) -> list[Finding]:
    """All findings, in the order of the table. Nothing is downloaded or written."""
    parts: tuple[Callable[[Path], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _processors,
        _data,
        _boards,
        _programs,
        _disk,
    )
    return [finding for part in parts for finding in part(root)]


def findings_table(findings: list[Finding]) -> Table:
    """Green where it is there, red where it is needed, yellow where it is a choice."""
    table = Table("", "what", "found", "fix", title="triptych doctor")
    topic = ""
    for each in findings:
        if topic and each.topic != topic:
            table.add_section()
        topic = each.topic
        mark = "[green]ok[/]" if each.there else "[red]lacks[/]" if each.needed else "[yellow]optional[/]"
        table.add_row(mark, each.name, escape(each.found), "" if each.there else escape(each.fix))
    return table


def _python(root: Path) -> Iterator[Finding]:
    found = platform.python_version()
    new_enough = tuple(map(int, found.split(".")[:2])) >= (3, 11)
    yield Finding("python", "Python", new_enough, found, "install Python 3.11 or later")


def _packages(root: Path) -> Iterator[Finding]:
    for name in (*PACKAGES, *TOOLCHAIN):
        yield _package(name, "make test (installs into .venv)", needed=True)
    for name, extra in EXTRAS.items():
        yield _package(name, f"pip install --constraint constraints.txt -e '.[{extra}]'", needed=False)


def _package(name: str, fix: str, *, needed: bool) -> Finding:
    try:
        return Finding("packages", name, True, version(name), "", needed)
    except PackageNotFoundError:
        return Finding("packages", name, False, "not installed", fix, needed)


def _processors(root: Path) -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    yield Finding(
        "processors", "cores", cores >= 2, str(cores), "one core doubles the time of make repro", False
    )
    import torch

    there = torch.cuda.is_available()
    found = torch.cuda.get_device_name() if there else "none"
    yield Finding("processors", "GPU", there, found, "not needed for digits; trainer=gpu uses one", False)


def _data(root: Path) -> Iterator[Finding]:
    for path in sorted((root / "data/prepared").glob("*/card.json")):
        try:
            card = read_json(path)
            yield Finding("data", f"data/prepared/{path.parent.name}", True, str(card["name"]))
        except (DataError, KeyError):
            fix = "delete the folder and run `dvc repro`"
            yield Finding("data", f"data/prepared/{path.parent.name}", False, "broken card.json", fix)
    if not (root / "data/prepared/real").is_dir():
        yield Finding(
            "data", "data/prepared/real", False, "not prepared", "make repro, or `dvc repro prepare`"
        )
    mirror = os.environ.get("TRIPTYCH_MIRROR")
    there = mirror is not None and Path(mirror).is_dir()
    fix = "unset it or name a folder" if mirror else "only without a network: TRIPTYCH_MIRROR=<folder>"
    yield Finding("data", "mirror", there, mirror or "not set", fix, needed=mirror is not None)


def _boards(root: Path) -> Iterator[Finding]:
    for name, board in sorted(BOARDS.items()):
        sizes = f"{board.cpu}, {board.sram // 1024} KiB SRAM, {board.flash // 1024} KiB flash"
        yield Finding("boards", name, True, sizes)


def _programs(root: Path) -> Iterator[Finding]:
    for name, fix in PROGRAMS.items():
        path = shutil.which(name)
        yield Finding("programs", name, path is not None, path or "not found", fix, needed=False)


def _disk(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free
    fix = "free some: results and DVC's cache grow with every experiment"
    yield Finding("disk", "free", free > DISK, f"{free / 1e9:.0f} GB", fix)
