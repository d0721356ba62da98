"""The layout that all stages share, and the data sets written in it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from triptych.config.data import DataConfig
from triptych.data.prepared import Split, read_card, read_split, write_prepared
from triptych.data.sources import SOURCES, load_source
from triptych.errors import DataError

DIGITS = DataConfig(name="digits", image_size=8, train_size=1440, test_size=357)


def small() -> Split:
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2)
    return Split(images, np.array([0, 1, 1]))


def test_round_trip_keeps_arrays_and_counts(tmp_path: Path):
    """What one stage writes is what the next one reads."""
    write_prepared(tmp_path, {"train": small()}, classes=3, card={"source": "x"})
    split = read_split(tmp_path, "train")
    np.testing.assert_array_equal(split.images, small().images)
    np.testing.assert_array_equal(split.labels, small().labels)
    assert read_card(tmp_path) == {
        "source": "x",
        "sizes": {"train": 3},
        "class_counts": {"train": [1, 2, 0]},
    }


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_file_names_itself(tmp_path: Path, content: bytes):
    """The library's own errors do not say which file is broken."""
    (tmp_path / "train.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.safetensors"):
        read_split(tmp_path, "train")


def test_missing_file_says_how_to_make_it(tmp_path: Path):
    """People who run one stage by hand must learn what comes before it."""
    with pytest.raises(DataError, match="dvc repro"):
        read_split(tmp_path, "train")


def test_digits_are_scikit_learns_split_once_without_overlap(tmp_path: Path):
    """Training and test images together are exactly the bundled set, each once."""
    splits, _ = load_source(DIGITS, tmp_path)
    ours = np.concatenate([splits["train"].images, splits["test"].images]).reshape(-1, 64)
    theirs = np.rint(np.asarray(load_digits(return_X_y=True)[0]) * 255 / 16).astype(np.uint8)
    np.testing.assert_array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))


def test_split_seed_moves_examples_between_splits(tmp_path: Path):
    """A seed that is ignored would make all repetitions the same."""
    other = DataConfig(name="digits", image_size=8, train_size=1440, test_size=357, split_seed=1)
    first, second = load_source(DIGITS, tmp_path)[0], load_source(other, tmp_path)[0]
    assert not np.array_equal(first["test"].labels, second["test"].labels)


def test_size_that_the_data_set_does_not_have_is_refused(tmp_path: Path):
    """A config that promises other sizes would make every shard count wrong."""
    wrong = DataConfig(name="digits", image_size=8, train_size=1700, test_size=357)
    with pytest.raises(DataError, match=r"train_size=1700.*1797"):
        load_source(wrong, tmp_path)


def test_a_smaller_size_draws_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """MNIST for minutes instead of hours: another part by another seed, never the first of a sorted file."""
    images = np.arange(300, dtype=np.uint16).astype(np.uint8).reshape(300, 1, 1, 1)
    whole = Split(images, np.repeat(np.arange(3), 100))
    monkeypatch.setitem(SOURCES, "mnist", lambda config, raw: ({"train": whole, "test": whole}, {}))
    config = replace(DIGITS, name="mnist", image_size=1, classes=3, train_size=90, test_size=60)
    first, again = (load_source(config, tmp_path)[0] for _ in range(2))
    other, _ = load_source(replace(config, split_seed=1), tmp_path)
    assert {name: len(split) for name, split in first.items()} == {"train": 90, "test": 60}
    assert min(first["train"].class_counts(3)) > 15
    np.testing.assert_array_equal(first["train"].images, again["train"].images)
    assert not np.array_equal(first["train"].labels, other["train"].labels)


def test_a_sample_holds_different_examples_and_repeats():
    """Scores on fewer images must not depend on their order in the file, nor on the run."""
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
    split = Split(images, np.arange(50) // 10)
    few = split.sample(20, seed=3)
    assert len(set(few.images.flatten().tolist())) == len(few) == 20
    np.testing.assert_array_equal(few.labels, few.images.flatten() // 10)
    np.testing.assert_array_equal(split.sample(20, seed=3).labels, few.labels)
    assert len(set(few.labels.tolist())) == 5
    assert split.sample(50, seed=3) is split
