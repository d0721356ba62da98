"""Licences and known advisories of the pinned packages, without a network.

    python -m pipelines.supply_chain                 # licences, from the installed metadata
    python -m pipelines.supply_chain advisories.zip  # and advisories, from an OSV export of PyPI

The export is the file `PyPI/all.zip` of osv.dev, or a folder of such JSON files, one an
advisory (a clone of GitHub's advisory database). It is read as it lies, never unpacked.
Exits with 1 where a licence is not allowed, a package is not the pinned one, or an
advisory applies. Without an export it says that it looked for no advisories.
"""

import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from tqdm import tqdm

from triptych.errors import DataError, TriptychError

PERMISSIVE = re.compile(
    "MIT|0?BSD|Apache|Python Software Foundation|PSF|ISC|Zlib|CC0|Public Domain|Zope|MPL|Mozilla|BSL",
    re.IGNORECASE,
)
REVIEWED = {  # metadata says nothing, or names a copyleft; none of them is part of what is generated
    "skops": "MIT (its repository); of MLflow, for reading scikit-learn models",
    "huey": "MIT (its repository); of MLflow's server",
    "asyncssh": "EPL-2.0 chosen; of DVC's SSH remotes",
    "psycopg2-binary": "LGPL-3.0 with exceptions, a library beside ours; MLflow's way to PostgreSQL",
    "pygit2": "GPLv2 with linking exception; of DVC",
    "grandalf": "EPL-1.0 or GPLv2, EPL chosen; draws `dvc dag`",
}
MAX_ADVISORY = 1 << 22  # bytes
FIRST = Version("0.dev0")  # stands for OSV's "0"


@dataclass(frozen=True)
class Licence:
    """What one package says of itself."""

    package: str
    version: str
    text: str
    allowed: bool


@dataclass(frozen=True)
class Advisory:
    """One entry of the OSV database that applies to a pin."""

    package: str
    version: str
    name: str
    summary: str


def read_pins(path: Path) -> dict[str, str]:
    """Canonical name to version of every line of a constraints file; raises DataError for another form."""
    pins = {}
    for line in path.read_text().splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        (specifier,) = requirement.specifier or [None]
        if specifier is None or specifier.operator != "==":
            raise DataError(f"{path}: {line!r} does not pin a version; write it as name==version")
        pins[canonicalize_name(requirement.name)] = specifier.version
    return pins


def needed(root: str) -> Iterator[Distribution]:
    """The installed packages that `root` needs with its extras for tests, directly or not."""
    seen: set[str] = set()
    waiting = [(root, frozenset({"dev", "team", "federated"}))]
    while waiting:
        name, extras = waiting.pop()
        key = canonicalize_name(name)
        if key in seen:
            continue
        seen.add(key)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
        if name != root:
            yield package
        for text in package.requires or []:
            requirement = Requirement(text)
            if applies(requirement, extras):
                waiting.append((requirement.name, frozenset(requirement.extras)))


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Whether a requirement holds here, with any of `extras` or without."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in {*extras, ""})


def licence(package: Distribution) -> Licence:
    """The licence by expression, classifier or text, and whether it may be used."""
    fields = package.metadata.json
    name = canonicalize_name(str(fields["name"]))
    classifiers = [line for line in fields.get("classifier", []) if line.startswith("License ::")]
    named = ", ".join(line.split(" :: ")[-1] for line in classifiers)
    free = str(fields.get("license", "")).split("\n")[0][:60]
    text = str(fields.get("license_expression", "")) or named or free
    copyleft = "GPL" in text and " OR " not in text
    allowed = name in REVIEWED or (bool(PERMISSIVE.search(text)) and not copyleft)
    return Licence(name, package.version, REVIEWED.get(name, text), allowed)


def advisories(export: Path, pins: Mapping[str, str]) -> list[Advisory]:
    """The advisories of an OSV export that apply to `pins`; raises DataError where it is none, or empty."""
    found, total = [], 0
    try:
        for text in tqdm(_entries(export), desc="advisories", unit="", mininterval=1):
            total += 1
            found += _hits(json.loads(text), pins)
    except (OSError, zipfile.BadZipFile, ValueError, AttributeError) as error:
        raise DataError(f"{export} is not an OSV export (PyPI/all.zip of osv.dev): {error}") from error
    if not total:
        raise DataError(f"{export} holds no advisories; get PyPI/all.zip of osv.dev (see SECURITY.md)")
    return found


def _entries(export: Path) -> Iterator[bytes]:
    """The JSON files of an archive or a folder; raises ValueError for one larger than an advisory is."""
    if export.is_dir():
        for path in sorted(export.rglob("*.json")):
            _require_small(path.name, path.stat().st_size)
            yield path.read_bytes()
        return
    with zipfile.ZipFile(export) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".json"):
                _require_small(entry.filename, entry.file_size)
                yield archive.read(entry)


def _require_small(name: str, size: int) -> None:
    if size > MAX_ADVISORY:
        raise ValueError(f"{name} has {size} bytes, more than an advisory's {MAX_ADVISORY}")


def _hits(value: Mapping[str, Any], pins: Mapping[str, str]) -> Iterator[Advisory]:
    if value.get("withdrawn"):
        return
    for affected in value.get("affected", []):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        version = pins.get(name)
        if version and package.get("ecosystem") == "PyPI" and is_affected(version, affected):
            yield Advisory(name, version, value["id"], value.get("summary", ""))


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Whether OSV's list of versions, or one of its ranges, holds `version` (OSV schema, `affected`)."""
    pin = Version(version)
    if any(pin == _bound(text) for text in affected.get("versions", [])):
        return True
    ranges = [entry for entry in affected.get("ranges", []) if entry.get("type") == "ECOSYSTEM"]
    return any(_in_range(pin, entry["events"]) for entry in ranges)


def _in_range(version: Version, events: list[Mapping[str, str]]) -> bool:
    """By the schema's evaluation: events in the order of their versions, in which "0" is before all."""
    bounds = [(_bound(text), kind) for event in events for kind, text in event.items()]
    inside = False
    for bound, kind in sorted((bound, kind) for bound, kind in bounds if bound is not None):
        if kind == "introduced":
            inside = inside or version >= bound
        elif (kind == "fixed" and version >= bound) or (kind == "last_affected" and version > bound):
            inside = False
    return inside


def _bound(text: str) -> Version | None:
    """A version of the database; None where it is none of Python's, as some very old ones."""
    try:
        return FIRST if text == "0" else Version(text)
    except InvalidVersion:
        return None


def check(root: Path, export: Path | None) -> list[str]:
    """Everything that is wrong, one line each."""
    pins = read_pins(root / "constraints.txt")
    problems = []
    for package in needed("triptych"):
        row = licence(package)
        pin = pins.get(row.package)
        if pin != Version(row.version).public:  # builds of one release differ in their local label, +cpu
            problems.append(f"{row.package} {row.version} is not the pinned version, {pin}")
        if not row.allowed:
            problems.append(f"{row.package}: licence {row.text!r} is not allowed; review or drop the package")
    for hit in advisories(export, pins) if export else []:
        problems.append(f"{hit.package} {hit.version}: {hit.name} {hit.summary}")
    return problems


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    export = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        problems = check(root, export)
    except TriptychError as error:
        sys.exit(f"error: {error}")
    if problems:
        sys.exit("\n".join(problems))
    looked = "none applies" if export else "not looked for, no OSV export was given (see SECURITY.md)"
    sys.stdout.write(f"pins and licences: nothing to report\nadvisories: {looked}\n")


if __name__ == "__main__":
    main()
