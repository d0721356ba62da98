"""The coloured data: who gets which colour, and who never meets a label."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from triptych.config.robust import ShiftConfig
from triptych.data.prepared import Split, read_card, read_split
from triptych.data.shift import (
    ColourLaw,
    colour_bin,
    read_repetition,
    read_unlabelled,
    shift,
    write_shifted,
)
from triptych.errors import DataError

CONFIG = ShiftConfig(ways=10, p=0.95, source_train_size=30, source_test_size=10)


def numbered(start: int, size: int) -> Split:
    """Images of one pixel that carries its number, so that each can be told from the others."""
    images = np.arange(start, start + size, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Split(images, np.arange(size) % 10)


def numbers(images: np.ndarray) -> set[int]:
    return set((images[:, 0] + images[:, 1]).ravel().tolist())


def test_no_image_is_in_two_splits():
    """A shared image would let the source teach the target's answers."""
    shifted = shift(numbered(0, 100), numbered(100, 20), CONFIG, seed=0)
    parts = [numbers(split.images) for split in shifted.labelled.values()]
    parts.append(numbers(shifted.target_train))
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30 + 10 + 50 + 20


def test_source_comes_from_the_first_half_and_target_from_the_second():
    """The paper's protocol; source_test must not take from the target."""
    shifted = shift(numbered(0, 100), numbered(100, 20), CONFIG, seed=0)
    assert numbers(shifted.labelled["source_train"].images) == set(range(30))
    assert numbers(shifted.labelled["source_test"].images) == set(range(30, 40))
    assert numbers(shifted.target_train) == set(range(50, 100))
    assert numbers(shifted.labelled["target_test"].images) == set(range(100, 120))


def test_a_source_too_large_for_its_half_is_refused():
    """It would overlap with the target."""
    with pytest.raises(DataError, match="needs 40 images, half of the training split has 39"):
        shift(numbered(0, 79), numbered(100, 20), CONFIG, seed=0)


@pytest.mark.parametrize("ways", [2, 10])
@pytest.mark.parametrize("p", [0.0, 0.5, 0.95, 1.0])
def test_share_of_aligned_source_colours_is_the_stated_one(ways: int, p: float):
    """A colour that does not follow its label points to it by chance in 1 of `ways` cases."""
    labels = np.random.default_rng(1).integers(0, ways, 20_000)
    aligned = colour_bin(ColourLaw(ways, p, seed=0).source("source_train", labels), ways) == labels
    expected = p + (1 - p) / ways
    assert aligned.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 20_000))


def test_ten_ways_colours_are_uniform_within_the_tenth_of_the_label():
    """(label + U[0, 1]) / 10, the released script's draw."""
    labels = np.random.default_rng(1).integers(0, 10, 5000)
    colour = ColourLaw(10, 1.0, seed=0).source("source_train", labels)
    assert stats.kstest(colour * 10 - labels, "uniform").pvalue > 0.01


def test_two_ways_colours_are_a_normal_folded_to_the_side_of_the_label():
    """N(1/2, 1/6), reflected; 6 standard deviations fit into [0, 1] on both sides together."""
    labels = np.random.default_rng(1).integers(0, 2, 5000)
    colour = ColourLaw(2, 1.0, seed=0).source("source_train", labels)
    assert np.all((colour >= 0.5) == (labels == 1))
    assert stats.kstest(np.abs(colour - 0.5) * 6, "halfnorm").pvalue > 0.01


@pytest.mark.parametrize(("ways", "law"), [(10, stats.uniform()), (2, stats.norm(1 / 2, 1 / 6))])
def test_target_colours_follow_the_law_of_no_label(ways: int, law):
    """The target's colour must carry no information."""
    colour = ColourLaw(ways, 0.95, seed=0).target("target_train", 5000)
    assert stats.kstest(colour, law.cdf).pvalue > 0.01


def test_two_ways_ask_whether_the_digit_is_below_five():
    """The label of the paper's binary task."""
    config = ShiftConfig(ways=2, p=0.95, source_train_size=30, source_test_size=10)
    labels = shift(numbered(0, 100), numbered(100, 20), config, seed=0).labelled["target_test"].labels
    assert labels.tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0] * 2


def test_labels_of_the_target_leave_no_trace():
    """Unlabelled means that other labels would give the same file, colours included."""
    train, test = numbered(0, 100), numbered(100, 20)
    labels = train.labels.copy()
    labels[50:] = np.random.default_rng(0).permutation(labels[50:])
    one = shift(train, test, CONFIG, seed=0)
    other = shift(Split(train.images, labels), test, CONFIG, seed=0)
    np.testing.assert_array_equal(one.target_train, other.target_train)
    np.testing.assert_array_equal(one.labelled["source_train"].images, other.labelled["source_train"].images)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shifted = shift(numbered(0, 100), numbered(100, 20), CONFIG, seed=7)
    write_shifted(tmp_path, shifted, card={"source": "numbers", "licence": "none"})
    return tmp_path


def test_card_states_sizes_law_and_realised_dependence(folder: Path):
    """What a reader needs in order to judge the shift without loading it."""
    card = read_card(folder)
    assert card["sizes"] == {"source_train": 30, "source_test": 10, "target_test": 20}
    assert card["unlabelled_sizes"] == {"target_train": 50}
    assert card["colour_law"] == {"ways": 10, "p": 0.95, "seed": 7, "published": None}
    split, colour = read_repetition(folder, "source_train", 0)
    assert colour is not None
    assert card["correlations"]["source_train"] == pytest.approx(np.corrcoef(colour, split.labels)[0, 1])
    assert card["correlations"]["source_train"] > 0.8 > 0.6 > abs(card["correlations"]["target_test"])
    assert card["aligned_shares"]["source_train"] > 0.8


@pytest.mark.parametrize("name", ["source_train", "source_test", "target_test"])
def test_another_repetition_is_the_same_images_and_labels_in_other_colours(folder: Path, name: str):
    """Repetitions measure how much of a result is the luck of one draw of colours."""
    (first, colour), (second, other) = (read_repetition(folder, name, r) for r in (0, 1))
    assert colour is not None
    assert other is not None
    assert not np.array_equal(colour, other)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.images.sum(1), second.images.sum(1))


@pytest.mark.parametrize("name", ["source_train", "source_test", "target_test"])
def test_repetition_zero_is_the_file(folder: Path, name: str):
    """Whoever reads the files sees what the first classifier was trained on."""
    np.testing.assert_array_equal(read_repetition(folder, name, 0)[0].images, read_split(folder, name).images)


def test_unlabelled_repetitions_share_their_images(folder: Path):
    """Fresh colours, same images: the total of the channels is the grey image, exactly."""
    first, second = (read_unlabelled(folder, "target_train", r) for r in (0, 1))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first.sum(1), second.sum(1))


def test_target_has_no_labels_to_read(folder: Path):
    """The file itself keeps the promise."""
    with pytest.raises(DataError, match="labels"):
        read_split(folder, "target_train")


def test_missing_files_are_named_with_the_command_that_makes_them(tmp_path: Path):
    """Running a later stage first is the commonest mistake."""
    with pytest.raises(
        DataError, match=r"target_train\.safetensors does not exist; run `dvc repro robust_shift`"
    ):
        read_unlabelled(tmp_path, "target_train", 0)


def test_a_card_without_the_law_is_refused(folder: Path):
    """An unshifted data set in the place of the shifted one."""
    (folder / "card.json").write_text("{}")
    with pytest.raises(DataError, match="no colour_law"):
        read_repetition(folder, "source_train", 1)


def test_label_shift_thins_the_lower_classes_of_the_target_alone():
    """A share of them goes, the others stay, the source is untouched, in train and test alike."""
    train = Split(np.zeros((8000, 1, 1, 1), np.uint8), np.arange(8000) % 10)
    config = ShiftConfig(ways=10, p=0.95, keep=0.3, source_train_size=3000, source_test_size=1000)
    shifted = shift(train, train.take(slice(4000)), config, seed=0)
    counts = shifted.labelled["target_test"].class_counts(10)
    assert counts[5:] == [400] * 5
    assert all(80 < count < 160 for count in counts[:5])  # 120 ± 4 standard deviations
    assert 2000 + 1000 * 0.4 < len(shifted.target_train) < 2000 + 1000 * 0.8
    assert shifted.labelled["source_train"].class_counts(10) == [300] * 10
