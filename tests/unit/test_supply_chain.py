"""What is installed is what was pinned, may be used, and is searched for known flaws."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.supply_chain import Advisory, advisories, check, is_affected, read_pins
from triptych.errors import DataError

ROOT = Path(__file__).parents[2]


def test_every_installed_package_is_pinned_and_allowed():
    """A new dependency with another licence, or without a pin, must not slip in."""
    assert check(ROOT, None) == []


def test_line_without_a_version_is_refused(tmp_path: Path):
    """It would float."""
    (tmp_path / "constraints.txt").write_text("numpy==2.0\nrequests>=2\n")
    with pytest.raises(DataError, match="'requests>=2' does not pin a version"):
        read_pins(tmp_path / "constraints.txt")


def events(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": [{kind: version} for kind, version in pairs]}]}


@pytest.mark.parametrize(
    ("version", "affected", "expected"),
    [
        ("5.3", events(("introduced", "0"), ("fixed", "5.4")), True),
        ("5.4", events(("introduced", "0"), ("fixed", "5.4")), False),
        ("5.4", events(("introduced", "0"), ("last_affected", "5.4")), True),
        ("5.10", events(("introduced", "5.9")), True),
        ("1.0", events(("introduced", "0"), ("fixed", "0.9"), ("introduced", "1.0"), ("fixed", "1.1")), True),
        ("0.95", events(("introduced", "0"), ("fixed", "0.9"), ("introduced", "1.0")), False),
        ("2.0", {"versions": ["1.9", "2.0"]}, True),
        ("2.0", {}, False),
    ],
)
def test_affected_versions_follow_the_osv_schema(version: str, affected: dict[str, Any], expected: bool):
    """The cases of the schema's documentation; 5.10 is above 5.9 as a version and below it as text."""
    assert is_affected(version, affected) is expected


def test_advisories_of_an_export_are_found_by_canonical_name(tmp_path: Path):
    """OSV writes names as their authors do."""
    affected = {
        "package": {"ecosystem": "PyPI", "name": "PyYAML"},
        **events(("introduced", "0"), ("fixed", "5.4")),
    }
    entry: dict[str, Any] = {
        "id": "PYSEC-2021-142",
        "summary": "runs code in full_load",
        "affected": [affected],
    }
    elsewhere = {**entry, "id": "other", "affected": [{"package": {"ecosystem": "npm", "name": "pyyaml"}}]}
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("PYSEC-2021-142.json", json.dumps(entry))
        archive.writestr("../../escape.json", json.dumps(elsewhere))
        archive.writestr("withdrawn.json", json.dumps({**entry, "withdrawn": "2021-01-01T00:00:00Z"}))
    hit = Advisory("pyyaml", "5.3", "PYSEC-2021-142", entry["summary"])
    assert advisories(tmp_path / "all.zip", {"pyyaml": "5.3"}) == [hit]
    assert advisories(tmp_path / "all.zip", {"pyyaml": "6.0"}) == []


def test_file_that_is_no_export_is_refused(tmp_path: Path):
    """A web page saved under the name of the export."""
    (tmp_path / "all.zip").write_text("<html>")
    with pytest.raises(DataError, match="is not an OSV export"):
        advisories(tmp_path / "all.zip", {})
