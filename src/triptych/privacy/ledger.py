"""The record of every release, written before the release is used.

One JSON line an entry. The first names the mechanism; each further one is a
step that was paid for. Every entry carries the digest of the one before, so an
edited, reordered or missing line is found. A killed run that continues appends
to the same ledger: steps that it repeats are paid again.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.data.files import write_atomic
from triptych.errors import DataError, OutputError, PrivacyError

START = "0" * 64


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _line(body: Mapping[str, Any]) -> bytes:
    return json.dumps({**body, "digest": _seal(body)}, sort_keys=True).encode() + b"\n"


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """All entries, verified. Raises PrivacyError where the chain is broken, DataError without a file."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; without its ledger a release cannot be certified") from error
    entries: list[dict[str, Any]] = []
    previous = START
    for number, line in enumerate(lines):
        entry = _parse(line)
        if entry is None or entry["previous"] != previous:
            raise PrivacyError(
                f"{path}:{number + 1} does not continue the chain: the ledger was edited or written by "
                "two processes; it cannot support a certificate, so delete it and train anew"
            )
        entries.append(entry)
        previous = entry["digest"]
    return entries


def _parse(line: bytes) -> dict[str, Any] | None:
    """The entry that a line holds; None where it is not whole or not what was sealed."""
    try:
        entry = json.loads(line)
        body = {key: value for key, value in entry.items() if key != "digest"}
        sound = line.endswith(b"\n") and "previous" in body and entry["digest"] == _seal(body)
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None
    return entry if sound else None


class Ledger:
    """The open ledger of one training."""

    def __init__(self, path: Path, mechanism: Mapping[str, Any]) -> None:
        """Continue the ledger at `path`, or start it with `mechanism`.

        Raises PrivacyError where it is damaged or belongs to another mechanism.
        """
        self.path = path
        torn = _cut_torn_line(path)
        entries = read_ledger(path) if path.exists() and path.stat().st_size else []
        if entries and entries[0].get("mechanism") != mechanism:
            raise PrivacyError(
                f"{path} records {entries[0].get('mechanism')}, this run is {dict(mechanism)}; "
                "restore that configuration or delete the ledger with its checkpoints"
            )
        self.steps = max(len(entries) - 1, 0)
        self.last: int | None = entries[-1].get("step") if entries else None  # step that was paid for last
        self.digest: str = entries[-1]["digest"] if entries else START
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise OutputError(f"cannot open {path}: {error.strerror}; choose a writable folder") from error
        if not entries:
            self._append({"mechanism": dict(mechanism)})
        elif torn:
            self.record(entries[-1].get("step", 0), torn=True)

    def record(self, step: int, *, torn: bool = False) -> None:
        """Pay for one step; returns when the entry is on the disk. Call it before using the release.

        `torn` marks an entry that a kill cut short: whether its release was
        used is unknown, so it is paid.
        """
        self._append({"step": step, "torn": True} if torn else {"step": step})
        self.steps += 1
        self.last = step

    def witness(self) -> None:
        """Count a step that another process of the same training records."""
        self.steps += 1

    def _append(self, body: Mapping[str, Any]) -> None:
        line = _line({**body, "previous": self.digest})
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; free the disk") from error
        self.digest = json.loads(line)["digest"]

    def close(self) -> None:
        """Close the file; the ledger stays."""
        self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut_torn_line(path: Path) -> bool:
    """Remove a last line without its newline; True where there was one."""
    if not path.exists():
        return False
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole == content:
        return False
    write_atomic(path, whole)
    return True
