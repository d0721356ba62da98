"""Pictures in folders: what is read, in which order, and what is refused."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.config.data import DataConfig
from triptych.data.pictures import decode
from triptych.data.sources import load_source
from triptych.errors import ConfigError, DataError

CLASSES = ("cat", "dog", "eel")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures a class to train with, two to test; the red channel tells the class."""
    for split, size in (("train", 6), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for i in range(size):
                path = tmp_path / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (12, 8), (100 * label, i, 7)).save(path)
    return tmp_path


def config(folder: Path, **changes: int) -> DataConfig:
    values = {"image_size": 8, "channels": 3, "classes": 3, "train_size": 18, "test_size": 6, **changes}
    return DataConfig(name="image_folder", folder=str(folder), **values)


def test_every_picture_is_read_once_with_the_label_of_its_folder(folder: Path):
    """Labels follow the order of names, as in torchvision's ImageFolder."""
    splits, card = load_source(config(folder), folder)
    train = splits["train"]
    assert (train.images[:, 0] == 100 * train.labels[:, None, None]).all()
    assert sorted(train.images[:, 1, 0, 0]) == sorted([*range(6)] * 3)
    assert card["classes"] == 3


def test_the_order_is_shuffled(folder: Path):
    """The end of the training split is held out for the search: sorted, it would be one class."""
    splits, _ = load_source(config(folder), folder)
    assert list(splits["train"].labels) != sorted(splits["train"].labels)


def test_a_smaller_size_takes_a_part(folder: Path):
    """A budget for two cores; the part has all classes because the order is shuffled before."""
    splits, _ = load_source(config(folder, train_size=9), folder)
    assert splits["train"].images.shape == (9, 3, 8, 8)


def test_a_picture_is_cut_to_its_centre_and_resized():
    """Squeezing would change every shape."""
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 200  # the central square
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    assert (decode(content.getvalue(), 2, "L") == 200).all()
    assert decode(content.getvalue(), 4, "RGB").shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 4}, r"has 3 classes, data\.classes=4"),
        ({"train_size": 19}, r"train split is \(18, 3, 8, 8\), conf/data says \(19"),
    ],
)
def test_a_folder_that_is_not_what_the_config_says_is_refused(folder: Path, changes: dict, message: str):
    """Training would go on with the wrong number of outputs, or of images."""
    with pytest.raises(DataError, match=message):
        load_source(config(folder, **changes), folder)


def test_two_channels_are_refused_where_pictures_are_read_alone(folder: Path):
    """The chain paints grey pictures in two colours: its config has two channels and is possible."""
    painted = config(folder, channels=2)
    painted.check()
    with pytest.raises(ConfigError, match=r"data\.channels=2: pictures are read as 1"):
        load_source(painted, folder)


def test_an_empty_folder_says_what_was_expected(tmp_path: Path):
    """The layout is the whole interface."""
    with pytest.raises(DataError, match=r"no pictures; expected \{train,test\}/<class>"):
        load_source(config(tmp_path), tmp_path)


def test_what_is_no_picture_is_named(folder: Path):
    """One broken file among a million must be found."""
    broken = folder / "train" / "cat" / "0.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"cat/0\.png is not a picture"):
        load_source(config(folder), folder)
