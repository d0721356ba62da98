"""The judge of samples: its weights, its accuracy, its pictures."""

import numpy as np
import pytest
import torch

from triptych.config.data import DataConfig
from triptych.config.private import ClassifierConfig
from triptych.data.prepared import Split
from triptych.data.weights import load_weights, save_weights
from triptych.errors import DataError
from triptych.evaluation.classifier import FEATURES, Classifier, accuracy, class_accuracies
from triptych.report.private import accuracy_bars, sample_grid

DATA = DataConfig("digits", image_size=8, train_size=40, test_size=1)
CONFIG = ClassifierConfig(width=2, epochs=1, batch_size=8, learning_rate=1e-3)


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8), np.arange(40) % 10)


def test_accuracy_counts_right_predictions(split):
    """A head that always says 3 is right for the tenth that are 3, and for no other class."""
    classifier = Classifier(CONFIG, DATA)
    with torch.no_grad():
        classifier.head.bias[3] = 1e6
    assert accuracy(classifier, split) == pytest.approx(0.1)
    assert class_accuracies(classifier, split).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("size", [8, 28])
def test_features_have_one_size_for_all_images(size):
    """FID compares means and covariances of this many numbers."""
    classifier = Classifier(CONFIG, DataConfig("mnist", image_size=size, train_size=1, test_size=1))
    images = torch.zeros(3, 1, size, size, dtype=torch.uint8)
    assert classifier.features(images).shape == (3, FEATURES)


def test_weights_survive_the_disk(tmp_path):
    """The reference classifier is trained in one stage and judges in another."""
    first, second = Classifier(CONFIG, DATA), Classifier(CONFIG, DATA)
    save_weights(tmp_path / "w.safetensors", first)
    load_weights(tmp_path / "w.safetensors", second)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_foreign_weights_are_refused_by_name(tmp_path):
    """The file of another width says so, instead of a page of shapes."""
    path = tmp_path / "w.safetensors"
    with pytest.raises(DataError, match=r"w\.safetensors does not exist"):
        load_weights(path, Classifier(CONFIG, DATA))
    save_weights(path, torch.nn.Linear(2, 2))
    with pytest.raises(DataError, match="does not fit the configured network"):
        load_weights(path, Classifier(CONFIG, DATA))
    path.write_bytes(b"not weights")
    with pytest.raises(DataError, match="does not fit the configured network"):
        load_weights(path, Classifier(CONFIG, DATA))


def test_pictures_are_written(split, tmp_path):
    """A class with fewer images than the row has places must not break the stage."""
    sample_grid(split.take(slice(15)), tmp_path / "grid.png", title="samples")
    accuracy_bars(np.linspace(0, 1, 10), np.ones(10), tmp_path / "bars.png")
    for name in ("grid.png", "bars.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
