"""Files that are whole or absent."""

import json
from pathlib import Path

import pytest

from triptych.data.files import digest, read_json, write_atomic, write_json
from triptych.errors import DataError, OutputError


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A kill or a full disk must not cost the previous result."""
    path = tmp_path / "metrics.json"
    write_json(path, {"epsilon": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"metrics\.json: No space left"):
        write_json(path, {"epsilon": 2})
    assert json.loads(path.read_text()) == {"epsilon": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_folder_is_named():
    """The message must say where it failed; `/proc` refuses every user, root too."""
    with pytest.raises(OutputError, match=r"/proc/triptych/x\.json.*writable folder"):
        write_atomic(Path("/proc/triptych/x.json"), b"")


def test_json_never_holds_nan(tmp_path: Path):
    """NaN is not JSON: every other reader would fail on it."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"accuracy": float("nan")})


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_broken_json_names_the_file(tmp_path: Path, content: bytes):
    """A half-written file of another program must not surface as a traceback."""
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(DataError, match=r"card\.json is not valid JSON"):
        read_json(tmp_path / "card.json")


def test_digest_depends_on_names_and_contents(tmp_path: Path):
    """Fingerprints rest on it: a renamed or changed file is another input."""
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    before = digest([tmp_path / "a", tmp_path / "b"], root=tmp_path)
    assert before == digest([tmp_path / "b", tmp_path / "a"], root=tmp_path)
    (tmp_path / "a").write_text("2")
    changed = digest([tmp_path / "a", tmp_path / "b"], root=tmp_path)
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").rename(tmp_path / "c")
    renamed = digest([tmp_path / "a", tmp_path / "c"], root=tmp_path)
    assert len({before, changed, renamed}) == 3
