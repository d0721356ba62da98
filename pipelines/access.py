"""Which data files a stage opens, seen by Python itself: nothing is read that `dvc.yaml` does not declare.

An audit hook hears every `open` of the process, by whatever library. It cannot
be removed, so there is one for the process, which listens while a stage runs.
"""

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from triptych.errors import DataError

WATCHED = ("data", "out")  # below the root that stages read; their code lies elsewhere
RAW = "data/raw"  # downloads have no entry in dvc.yaml: recorded, not refused
_listeners: list["_Listener"] = []


class _Listener:
    """Collects the files below `root` that are opened for reading, outside `own`."""

    def __init__(self, root: Path, own: Path) -> None:
        self.root, self.own = os.path.abspath(root), os.path.abspath(own)  # noqa: PTH100  # resolve follows links
        self.opened: set[str] = set()

    def hear(self, path: str | bytes | os.PathLike, flags: int) -> None:
        if flags & (os.O_WRONLY | os.O_RDWR):
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # resolve follows links
        relative = Path(os.path.relpath(name, self.root))
        if relative.parts[0] in WATCHED and not name.startswith(self.own + os.sep):
            self.opened.add(relative.as_posix())


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _listeners and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        for listener in _listeners:
            listener.hear(arguments[0], arguments[2])


@cache
def _install() -> None:
    sys.addaudithook(_hook)


@contextmanager
def recorded(root: Path, own: Path) -> Iterator[set[str]]:
    """The files in `data/` and `out/` of `root` opened for reading meanwhile, apart from those in `own`."""
    _install()
    listener = _Listener(root, own)
    _listeners.append(listener)
    try:
        yield listener.opened
    finally:
        _listeners.remove(listener)


def require_declared(opened: Collection[str], declared: Collection[str], stage: str) -> None:
    """Raise DataError where a file was opened that is neither declared nor in a declared folder."""
    allowed = (RAW, *declared)
    for path in sorted(opened):
        if not any(path == dep or path.startswith(f"{dep}/") for dep in allowed):
            raise DataError(
                f"stage {stage} opened {path}, which its entry in dvc.yaml does not declare; add it to "
                "`deps`, or DVC will not see that it changes"
            )
