"""LEAF's layout: small files of it are read; what is malformed is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.config.data import DataConfig
from triptych.data.leaf import load_leaf
from triptych.errors import DataError


def user(*labels: int, pixel: float = 1.0) -> dict[str, Any]:
    return {"x": [[pixel] * 784 for _ in labels], "y": list(labels)}


def write(path: Path, **users: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = [len(data["y"]) for data in users.values()]
    path.write_text(json.dumps({"users": list(users), "num_samples": sizes, "user_data": users}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train/all_data_0.json", f0001_41=user(3, 61, pixel=0.25), f0000_14=user(9))
    write(tmp_path / "train/all_data_1.json", f0002_00=user(40))
    write(tmp_path / "test/all_data_0.json", f0000_14=user(2, 11))
    return tmp_path


def config(folder: Path, **changes: Any) -> DataConfig:
    values = {"classes": 62, "clients": 3, "train_size": 4, "test_size": 2, **changes}
    return DataConfig("leaf", image_size=28, folder=str(folder), **values)


def test_users_of_all_files_follow_each_other(folder: Path):
    """A client's records are found by the sizes on the card, so their order must be that of the users."""
    splits, card = load_leaf(config(folder), folder)
    assert splits["train"].labels.tolist() == [9, 3, 61, 40]
    assert card["client_sizes"] == [1, 2, 1]
    assert splits["test"].labels.tolist() == [2, 11]


def test_paper_becomes_black(folder: Path):
    """LEAF writes 1 for paper, all other data sets here 0."""
    splits, _ = load_leaf(config(folder), folder)
    assert np.unique(splits["train"].images).tolist() == [0, 191]


def test_fewer_classes_leave_out_images_and_empty_users(folder: Path):
    """With 10 classes it is a set of digits, and the writer of a capital alone is no client."""
    splits, card = load_leaf(config(folder, classes=10, clients=2), folder)
    assert splits["train"].labels.tolist() == [9, 3]
    assert card["client_sizes"] == [1, 1]


def test_another_number_of_clients_is_named(folder: Path):
    """Epsilon speaks of clients: their number is not guessed."""
    with pytest.raises(DataError, match=r"holds 3 users .* set data.clients=3, not 7"):
        load_leaf(config(folder, clients=7), folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not in LEAF's form"),
        ('{"users": 1, "num_samples": [], "user_data": {}}', "must be lists"),
        ('{"users": ["a"], "num_samples": [1], "user_data": {}}', "do not speak of the same users"),
        ('{"users": ["a"], "num_samples": [2], "user_data": {"a": {"x": [], "y": [1]}}}', "not the 2 labels"),
        ('{"users": ["a"], "num_samples": [1], "user_data": {"a": {"y": [1]}}}', r"x is \(0,\)"),
        ('{"users": ["a"], "num_samples": [1], "user_data": {"a": {"x": [["b"]], "y": [1]}}}', "of numbers"),
    ],
    ids=["broken", "list", "types", "users", "sizes", "images", "text"],
)
def test_malformed_file_is_named(folder: Path, content: str, message: str):
    """A file cut short by a full disk must not become fewer clients."""
    (folder / "train/all_data_1.json").write_text(content)
    with pytest.raises(DataError, match=message):
        load_leaf(config(folder), folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (user(62), "whole numbers from 0 to 61"),
        (user(-1), "whole numbers from 0 to 61"),
        ({"x": [[0.0] * 784], "y": [1.5]}, "whole numbers from 0 to 61"),
        (user(1, pixel=255.0), r"outside \[0, 1\]"),
        (user(1, pixel=float("nan")), r"outside \[0, 1\]"),
        ({"x": [[0.0] * 783], "y": [1]}, r"x is \(1, 783\)"),
    ],
    ids=["label", "negative", "fraction", "bytes", "nan", "size"],
)
def test_malformed_user_is_named(folder: Path, data: dict[str, Any], message: str):
    """The user's name leads to the record; values in [0, 255] would all become black."""
    write(folder / "train/all_data_1.json", f0002_00=data)
    with pytest.raises(DataError, match=rf"user 'f0002_00': .*{message}"):
        load_leaf(config(folder), folder)


def test_user_in_two_files_is_refused(folder: Path):
    """Two clients of one name would be counted as one in epsilon."""
    write(folder / "train/all_data_1.json", f0000_14=user(1))
    with pytest.raises(DataError, match="occurs in another file"):
        load_leaf(config(folder), folder)


def test_missing_folder_is_named(tmp_path: Path):
    """The default folder is where LEAF would write, and is often not there."""
    with pytest.raises(DataError, match=r"holds no \.json file"):
        load_leaf(config(tmp_path), tmp_path)
