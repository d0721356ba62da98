"""What is installed is what was pinned, may be used, and is searched for known flaws."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.supply_chain import Advisory, advisories, check, is_affected, read_pins
from triptych.data.files import write_json
from triptych.errors import DataError

ROOT = Path(__file__).parents[2]
RECORD: dict[str, Any] = {  # GitHub's database, licence CC-BY 4.0; the description shortened
    "schema_version": "1.4.0",
    "id": "GHSA-h5c8-rqwp-cp95",
    "modified": "2024-01-11T15:20:48Z",
    "published": "2024-01-11T15:20:48Z",
    "aliases": ["CVE-2024-22195"],
    "summary": "HTML attribute injection by keys of the xmlattr filter",
    "details": "Keys with spaces become attributes of their own.",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:L/I:L/A:N"}],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "jinja2"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.3"}]}],
        }
    ],
    "references": [{"type": "ADVISORY", "url": "https://nvd.nist.gov/vuln/detail/CVE-2024-22195"}],
    "database_specific": {
        "cwe_ids": ["CWE-79"],
        "severity": "MODERATE",
        "github_reviewed": True,
        "github_reviewed_at": "2024-01-11T15:20:48Z",
        "nvd_published_at": "2024-01-11T03:15:11Z",
    },
}


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
        ("0.95", events(("fixed", "0.9"), ("introduced", "1.0"), ("introduced", "0")), False),
        ("1.5", events(("fixed", "2.0"), ("introduced", "1.0")), True),
        ("0.1a1", events(("introduced", "0"), ("fixed", "0.1")), True),
        ("0.95", events(("introduced", "0"), ("fixed", "0.9"), ("introduced", "1.0")), False),
        ("2.0", {"versions": ["1.9", "2.0"]}, True),
        ("2.0", {"versions": ["not-a-version", "2.0.0"]}, True),
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


@pytest.mark.parametrize("shape", ["archive", "folder"])
@pytest.mark.parametrize(("pin", "hit"), [("3.1.2", True), ("3.1.3", False)])
def test_record_as_the_database_writes_it_hits_an_old_pin_and_no_newer(
    shape: str, pin: str, hit: bool, tmp_path: Path
):
    """All fields of a record of GitHub's database; Jinja2 3.1.3 is the release that mended it."""
    if shape == "archive":
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("GHSA-h5c8-rqwp-cp95.json", json.dumps(RECORD))
        export = tmp_path / "all.zip"
    else:
        export = tmp_path / "advisories"
        write_json(export / "github-reviewed/2024/01/GHSA-h5c8-rqwp-cp95/GHSA-h5c8-rqwp-cp95.json", RECORD)
    (tmp_path / "constraints.txt").write_text(f"Jinja2=={pin}\nMarkupSafe==2.1.0\n")
    found = advisories(export, read_pins(tmp_path / "constraints.txt"))
    assert [(each.package, each.version, each.name) for each in found] == [
        ("jinja2", pin, RECORD["id"])
    ] * hit


def test_program_says_whether_it_looked_for_advisories(tmp_path: Path):
    """Nobody may take a check of licences for one of known flaws; one that applies is a failure."""
    pin = read_pins(ROOT / "constraints.txt")["jinja2"]
    write_json(tmp_path / "old/record.json", RECORD)
    hostile = json.loads(json.dumps(RECORD).replace("3.1.3", f"{pin}.post1"))
    write_json(tmp_path / "new/record.json", hostile)
    program = [sys.executable, "-m", "pipelines.supply_chain"]
    for arguments, status, text in (
        ([], 0, "advisories: not looked for, no OSV export was given"),
        ([str(tmp_path / "old")], 0, "advisories: none applies"),
        ([str(tmp_path / "new")], 1, f"jinja2 {pin}: {RECORD['id']} {RECORD['summary']}"),
    ):
        done = subprocess.run([*program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert text in (done.stderr if status else done.stdout)


def test_export_without_advisories_or_with_one_that_is_too_large_is_refused(tmp_path: Path):
    """An empty folder must not pass for a clean bill, nor a record that was not read."""
    with pytest.raises(DataError, match="holds no advisories"):
        advisories(tmp_path, {})
    (tmp_path / "large.json").write_bytes(b" " * ((1 << 22) + 1))
    with pytest.raises(DataError, match=r"large\.json has 4194305 bytes"):
        advisories(tmp_path, {})


def test_file_that_is_no_export_is_refused(tmp_path: Path):
    """A web page saved under the name of the export."""
    (tmp_path / "all.zip").write_text("<html>")
    with pytest.raises(DataError, match="is not an OSV export"):
        advisories(tmp_path / "all.zip", {})
