"""Downloads: verified, resumable, from a mirror first."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from triptych.data.download import fetch
from triptych.errors import DataError

CONTENT = bytes(range(256)) * 1000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; `/broken` breaks off, `/wrong` serves other bytes."""

    ranges: list[str | None]

    def do_GET(self) -> None:  # the base class's name
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = b"something else" if self.path.startswith("/wrong") else CONTENT[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:131_072] if self.path.startswith("/broken") else body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str | None]]]:
    Handler.ranges = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", Handler.ranges
        http.shutdown()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_MIRROR", raising=False)


def get(tmp_path: Path, *urls: str) -> Path:
    return fetch("set", "file.gz", checksum=CHECKSUM, urls=urls, folder=tmp_path / "raw" / "set")


def test_download_is_verified_and_kept(tmp_path: Path, server):
    """The second call must not touch the network."""
    url, ranges = server
    assert get(tmp_path, f"{url}/file.gz").read_bytes() == CONTENT
    assert get(tmp_path, f"{url}/file.gz").read_bytes() == CONTENT
    assert len(ranges) == 1


def test_interrupted_download_continues_where_it_broke_off(tmp_path: Path, server):
    """A slow line must not start from zero at every attempt."""
    url, ranges = server
    with pytest.raises(DataError):
        get(tmp_path, f"{url}/broken/file.gz")
    assert not (tmp_path / "raw/set/file.gz").exists()
    assert get(tmp_path, f"{url}/file.gz").read_bytes() == CONTENT
    assert ranges == [None, "bytes=131072-"]


def test_wrong_content_falls_through_to_the_next_address(tmp_path: Path, server):
    """One compromised or outdated address must not stop the work, nor be used."""
    url, _ = server
    assert get(tmp_path, f"{url}/wrong/file.gz", f"{url}/file.gz").read_bytes() == CONTENT


def test_no_address_names_the_file_and_the_way_out(tmp_path: Path):
    """Without a network the message must say how to go on."""
    with pytest.raises(DataError, match=r"file\.gz.*(?s:.)*TRIPTYCH_MIRROR"):
        get(tmp_path, "http://127.0.0.1:9/file.gz")


def test_mirror_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a mirror no address is asked."""
    (tmp_path / "mirror/set").mkdir(parents=True)
    (tmp_path / "mirror/set/file.gz").write_bytes(CONTENT)
    monkeypatch.setenv("TRIPTYCH_MIRROR", str(tmp_path / "mirror"))
    assert get(tmp_path).read_bytes() == CONTENT


def test_corrupt_mirror_falls_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server):
    """A damaged mirror is reported with both checksums and passed over."""
    (tmp_path / "mirror/set").mkdir(parents=True)
    (tmp_path / "mirror/set/file.gz").write_bytes(b"damaged")
    monkeypatch.setenv("TRIPTYCH_MIRROR", str(tmp_path / "mirror"))
    with pytest.warns(UserWarning, match=CHECKSUM):
        assert get(tmp_path, f"{server[0]}/file.gz").read_bytes() == CONTENT


def test_corrupt_file_names_expected_and_actual_checksum(tmp_path: Path):
    """A damaged download must never be read as data."""
    path = tmp_path / "raw/set/file.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    actual = hashlib.sha256(b"damaged").hexdigest()
    with pytest.raises(DataError, match=f"{actual}.*{CHECKSUM}"):
        get(tmp_path)
