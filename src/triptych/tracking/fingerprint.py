"""What a result depends on, as one short name.

`dvc.yaml` declares for every stage the config keys, the data and the code that
it uses. The fingerprint is a digest of exactly these, so it agrees with DVC on
when a result is the same.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from triptych.data.files import digest_of


@dataclass(frozen=True)
class Declaration:
    """One stage of `dvc.yaml`: config keys (dotted) and paths it depends on."""

    name: str
    keys: tuple[str, ...]
    deps: tuple[str, ...]


def read_declaration(root: Path, name: str) -> Declaration:
    """Read stage `name` from `root/dvc.yaml`."""
    stage = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][name]
    keys = [key for file in stage.get("params", []) for group in file.values() for key in group]
    return Declaration(name, tuple(keys), tuple(stage.get("deps", [])))


def lookup(config: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401  # any config value
    """The value at a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value


def dependency_digests(declaration: Declaration, root: Path) -> dict[str, str]:
    """SHA-256 of every declared file or folder. Raises DataError where one is missing."""
    return {dep: digest_of(root / dep, root=root) for dep in declaration.deps}


def is_code(dependency: str) -> bool:
    """Whether a declared path is the project's code; the others are data."""
    return dependency.startswith(("src/", "pipelines/"))


def fingerprint(declaration: Declaration, config: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """16 hexadecimal digits over stage name, config values, data and code."""
    parts = {
        "stage": declaration.name,
        "config": {key: lookup(config, key) for key in declaration.keys},
        "deps": dict(digests),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
