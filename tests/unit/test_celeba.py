"""CelebA: the official layout in miniature, and what is said where it is not there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.config.robust import ShiftConfig
from triptych.data.celeba import divide, read_attributes, read_image, shift_celeba
from triptych.data.prepared import read_card
from triptych.data.shift import read_repetition, write_shifted
from triptych.errors import ConfigError, DataError

NAMES = ("5_o_Clock_Shadow", "Blond_Hair", "Male", "Young")
GROUPS = [(0, 0)] * 12 + [(1, 1)] * 8 + [(0, 1)] * 15 + [(1, 0)] * 15  # (blond, male)


def official(folder: Path, groups: Sequence[tuple[int, int]]) -> Path:
    """Images whose red is their number, in the layout of the release."""
    (folder / "img_align_celeba").mkdir(parents=True)
    rows = []
    for number, (blond, male) in enumerate(groups, 1):
        image = np.full((218, 178, 3), (4 * number, 0, 0), np.uint8)
        Image.fromarray(image).save(folder / f"img_align_celeba/{number:06}.jpg", quality=100)
        values = (-1, 2 * blond - 1, 2 * male - 1, 1)
        rows.append(f"{number:06}.jpg " + " ".join(f"{value:2d}" for value in values))
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(len(rows)), " ".join(NAMES), *rows, ""]))
    return folder


def config(folder: Path, train: int = 10, test: int = 2) -> ShiftConfig:
    return ShiftConfig(
        kind="celeba", ways=2, p=0.95, folder=str(folder), source_train_size=train, source_test_size=test
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    order = np.random.default_rng(0).permutation(len(GROUPS))
    return official(tmp_path_factory.mktemp("celeba"), [GROUPS[i] for i in order])


def numbers(images: np.ndarray) -> list[int]:
    return sorted(np.rint(images[:, 0].mean((1, 2)) / 4).astype(int).tolist())


def test_hair_decides_gender_in_the_source_and_not_in_the_target(folder: Path, tmp_path: Path):
    """The paper's split: seven dark-haired women to five blond men, the rest as photographed."""
    shifted = shift_celeba(config(folder), seed=0)
    write_shifted(tmp_path, shifted, card={})
    card = read_card(tmp_path)
    assert card["sizes"] == {"source_train": 10, "source_test": 2, "target_test": 4}
    assert card["unlabelled_sizes"] == {"target_train": 34}
    assert card["aligned_shares"]["source_train"] == 1.0
    assert card["correlations"]["source_train"] == pytest.approx(1.0)
    assert card["aligned_shares"]["target_test"] < 1
    source = np.concatenate([shifted.labelled[f"source_{part}"].labels for part in ("train", "test")])
    assert np.bincount(source).tolist() == [7, 5]
    split, colour = read_repetition(tmp_path, "source_train", 4)
    np.testing.assert_array_equal(split.labels, colour)


def test_every_image_is_in_one_split(folder: Path):
    """A shared image would let the source teach the target's answers."""
    shifted = shift_celeba(config(folder), seed=0)
    images = [*(split.images for split in shifted.labelled.values()), shifted.target_train]
    assert numbers(np.concatenate(images)) == list(range(1, 51))


def test_the_published_counts_come_out_of_a_list_that_has_them():
    """2,999 source images, 57,803 target images, as the released script counts them."""
    rng = np.random.default_rng(0)
    blond, male = rng.integers(0, 2, 150_000), rng.integers(0, 2, 150_000)
    source, target = divide(blond, male, 2999)
    assert [int(((blond == h) & (male == g))[source].sum()) for h, g in ((0, 0), (1, 1))] == [1749, 1250]
    counts = [int(((blond == h) & (male == g))[target].sum()) for h in (0, 1) for g in (0, 1)]
    assert counts == [25658, 23591, 8055, 499]
    assert not set(source) & set(target)


def test_images_are_scaled_and_cut_to_the_middle(tmp_path: Path):
    """Shorter side to 32, then rows 3 to 34 of 39: the stripe at the top is cut off."""
    image = np.zeros((218, 178, 3), np.uint8)
    image[:12] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    read = read_image(tmp_path / "x.png")
    assert read.shape == (3, 32, 32)
    assert read.max() == 0


def test_what_is_missing_or_wrong_is_named(tmp_path: Path, folder: Path):
    """Nobody else may hand out the files: the message must say which and from where."""
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt does not exist; robust\.shift"):
        read_attributes(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_text("2\nMale Young\n1.jpg 1 1\n")
    with pytest.raises(DataError, match="is not the official list of attributes"):
        read_attributes(tmp_path)
    with pytest.raises(DataError, match=r"needs 17 images with Blond_Hair=0 and Male=0, the list has 12"):
        shift_celeba(config(folder, train=27), seed=0)
    with pytest.raises(DataError, match=r"nowhere\.jpg does not exist; it is in list_attr_celeba\.txt"):
        read_image(folder / "nowhere.jpg")
    with pytest.raises(ConfigError, match=r"kind=celeba needs robust\.shift\.folder"):
        ShiftConfig(kind="celeba", ways=2, p=0.5, source_train_size=1, source_test_size=1).check()
