"""IS, FID and KID by torch-fidelity against torchmetrics, on the same features."""

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore

from triptych.config.data import DataConfig
from triptych.config.private import ClassifierConfig
from triptych.data.prepared import Split
from triptych.evaluation.classifier import FEATURES, Classifier
from triptych.evaluation.fidelity import fidelity, register

DATA = DataConfig("digits", image_size=8, train_size=600, test_size=1)
CONFIG = ClassifierConfig(width=4, epochs=1, batch_size=8, learning_rate=1e-3)


class Part(nn.Module):
    """One output of the classifier, as torchmetrics wants it."""

    num_features = FEATURES

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    classifier = Classifier(CONFIG, DATA).eval().requires_grad_(False)

    prototypes = rng.integers(0, 180, (10, 1, 8, 8))

    def split(noise: int, size: int) -> Split:
        labels = np.arange(size) % 10
        images = prototypes[labels] + rng.integers(0, noise, (size, 1, 8, 8))
        return Split(images.astype(np.uint8), labels)

    samples, real = split(40, 500), split(76, 600)
    logits = classifier(torch.from_numpy(samples.images))
    classifier.head.weight.mul_(3 / logits.std(0)[:, None])  # opinions, for an inception score above 1
    classifier.head.bias.sub_(logits.mean(0)).mul_(3 / logits.std(0))
    return classifier, samples, real


@pytest.mark.filterwarnings(
    "ignore:Metric `InceptionScore` will save",
    "ignore:std.*degrees of freedom",  # one split has no standard deviation
)
def test_scores_agree_with_torchmetrics(scene):
    """Two libraries, one extractor: within a thousandth, or one of them sees other images."""
    classifier, samples, real = scene
    scores = fidelity(samples, real, extractor=register(classifier, "agreement"), isc_splits=1)
    inception = InceptionScore(feature=Part(classifier), splits=1)
    inception.update(torch.from_numpy(samples.images))
    distance = FrechetInceptionDistance(feature=Part(classifier.features), input_img_size=(1, 8, 8))
    distance.set_dtype(torch.float64)
    distance.update(torch.from_numpy(real.images), real=True)
    distance.update(torch.from_numpy(samples.images), real=False)
    assert scores["inception_score"] > 1.05
    assert scores["inception_score"] == pytest.approx(float(inception.compute()[0]), rel=1e-3)
    assert scores["fid_reference"] == pytest.approx(float(distance.compute()), rel=1e-3)


def test_a_set_is_at_no_distance_from_itself(scene):
    """The zero of the scale: precision and recall are whole, the distances vanish."""
    classifier, samples, _ = scene
    scores = fidelity(samples, samples, extractor=register(classifier, "identity"))
    assert scores["fid_reference"] == pytest.approx(0, abs=1e-4)
    assert scores["kid_reference"] == pytest.approx(0, abs=1e-3)
    assert scores["precision_reference"] == scores["recall_reference"] == 1


def test_two_classifiers_are_never_confused(scene):
    """The name in torch-fidelity's registry carries the digest of the weights."""
    classifier, _, _ = scene
    assert register(classifier, "a" * 64) != register(classifier, "b" * 64)
