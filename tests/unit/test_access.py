"""What a stage opens is what `dvc.yaml` declares; the proof of who reads sensitive data rests on it."""

import os
from pathlib import Path

import pytest
from safetensors.numpy import load
from safetensors.torch import save

from pipelines.access import recorded, require_declared
from triptych.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("data/prepared/real/train", "out/a/result", "src/code"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(save({}))
    return tmp_path


@pytest.mark.parametrize(
    "read",
    [
        lambda path: path.read_bytes(),
        lambda path: load(path.read_bytes()),
        lambda path: os.close(os.open(path, os.O_RDONLY)),
        lambda path: os.close(os.open(os.fsencode(path), os.O_RDONLY)),
    ],
    ids=["pathlib", "safetensors", "os.open", "bytes"],
)
def test_every_way_of_opening_is_heard(root: Path, read):
    """A library that reads sensitive data by another door must not stay unseen."""
    with recorded(root, root / "out/.b.partial") as opened:
        read(root / "data/prepared/real/train")
    assert opened == {"data/prepared/real/train"}


def test_only_reading_of_data_and_results_counts(root: Path):
    """Code, other folders, writing, and a stage's own results are no inputs."""
    own = root / "out/.b.partial"
    own.mkdir()
    with recorded(root, own) as opened:
        (own / "fresh").write_text("1")
        (own / "fresh").read_text()
        (root / "out/a/other").write_text("1")
        (root / "src/code").read_bytes()
    (root / "out/a/result").read_bytes()
    assert opened == set()


def test_undeclared_file_is_refused_with_its_name():
    """DVC would show an old result as fresh."""
    opened = {"data/raw/mnist/x.gz", "out/a/result", "out/b/c"}
    require_declared(opened, ["out/a/result", "out/b"], "s")
    with pytest.raises(DataError, match="stage s opened out/a/result, which its entry"):
        require_declared(opened, ["out/a/res", "out/b"], "s")
