"""USPS: the official text and the mirror's numbers are the same digits."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from triptych.config.robust import ShiftConfig
from triptych.data import usps
from triptych.data.prepared import Split, read_split
from triptych.data.shift import (
    read_classes,
    read_law,
    read_repetition,
    read_unlabelled,
    shift_to,
    write_shifted,
)
from triptych.errors import DataError

CONFIG = ShiftConfig(kind="usps", ways=10, p=0.95, source_train_size=30, source_test_size=10)


def digits(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2001, (size, 16, 16)).astype(np.int16), np.arange(size) % 10


def text(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """As the official files write it: the digit with four decimals, then the values."""
    lines = (
        " ".join(f"{value:.4f}" for value in (label, *(image.ravel() / 1000 - 1)))
        for image, label in zip(pixels, labels, strict=True)
    )
    return "\n".join(lines).encode()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A raw folder with two small official files, whose content counts as the expected one."""
    arrays = {"train": digits(20, 0), "test": digits(5, 1)}
    monkeypatch.delenv("TRIPTYCH_MIRROR", raising=False)
    monkeypatch.setattr(usps, "CONTENT", usps.content_digest(arrays))
    (tmp_path / "usps").mkdir()
    for name, file in usps.FILES.items():
        (tmp_path / "usps" / file).write_bytes(gzip.compress(text(*arrays[name])))
    return tmp_path


def test_official_text_gives_back_every_pixel():
    """Three decimals are exact in thousandths: one address or the other, the same data set."""
    pixels, labels = digits(20, 0)
    again, same = usps.parse(text(pixels, labels), "zip.train.gz")
    np.testing.assert_array_equal(again, pixels)
    np.testing.assert_array_equal(same, labels)


def test_files_become_bytes_of_the_size_asked_for(files: Path):
    """-1 is 0, 1 is 255; a constant image stays constant whatever its size."""
    splits = usps.load_usps(files, 16)
    expected = np.rint(digits(20, 0)[0] * (255 / 2000)).astype(np.uint8)[:, None]
    np.testing.assert_array_equal(splits["train"].images, expected)
    assert usps.load_usps(files, 28)["test"].images.shape == (5, 1, 28, 28)
    assert usps.resize(np.full((1, 16, 16), 200, np.uint8), 28).tolist() == [[[200] * 28] * 28]


def test_other_content_is_refused_with_both_digests(files: Path, monkeypatch: pytest.MonkeyPatch):
    """The official site serves no checksum: what is verified is what was decoded."""
    monkeypatch.setattr(usps, "CONTENT", "0" * 64)
    with pytest.raises(DataError, match=r"has the content [0-9a-f]{64}, expected 0{64}; delete the folder"):
        usps.load_usps(files, 16)


@pytest.mark.parametrize("content", [b"1 2\n3 4 5", b"6 " + b"x " * 256, b""])
def test_what_is_not_the_table_is_named(content: bytes):
    """An error page of a server in the place of the digits."""
    with pytest.raises(DataError, match=r"zip\.train\.gz is not a table of a digit and 256 values"):
        usps.parse(content, "zip.train.gz")


def test_source_is_one_data_set_and_target_the_other(tmp_path: Path, files: Path):
    """Nothing is painted, no image is shared, the target's training labels are dropped."""
    train = Split(np.full((100, 1, 16, 16), 7, np.uint8), np.arange(100) % 10)
    target = usps.load_usps(files, 16)
    write_shifted(tmp_path / "x", shift_to(train, target, CONFIG, seed=0), card=usps.card(target))
    folder = tmp_path / "x"
    assert read_law(folder) is None
    assert read_classes(folder) == 10
    np.testing.assert_array_equal(read_unlabelled(folder, "target_train", 1), target["train"].images)
    split, colour = read_repetition(folder, "target_test", 3)
    np.testing.assert_array_equal(split.images, target["test"].images)
    assert colour is None
    assert np.all(read_repetition(folder, "source_train", 0)[0].images == 7)
    with pytest.raises(DataError, match="labels"):
        read_split(folder, "target_train")
