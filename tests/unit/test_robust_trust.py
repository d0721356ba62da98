"""The verdict before self-training: known values, and a case of each outcome."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.config.robust import RobustConfig, TrustConfig
from triptych.data.prepared import Split
from triptych.robust.losses import entropy
from triptych.robust.networks import build, predict
from triptych.robust.trust import (
    Evidence,
    class_share_distance,
    confidence_drop,
    estimated_accuracy,
    estimated_by_confidence,
    gather_evidence,
    outcomes,
    recoloured_accuracy,
    recoloured_margins,
    shrinking_share,
    verdict,
)

LIMITS = TrustConfig(accuracy=0.5, shrinking_share=0.5)


def logits_of(confidence: list[float], classes: list[int]) -> Tensor:
    """Two classes: the given one has the given probability."""
    p = torch.tensor(confidence)
    own = torch.nn.functional.one_hot(torch.tensor(classes), 2).bool()
    return torch.where(own, p[:, None], 1 - p[:, None]).log()


def test_estimated_accuracy_is_the_share_above_the_calibrated_threshold():
    """By hand: 3 of 4 source answers are right, so the threshold lies below the 3 most confident."""
    source = logits_of([0.6, 0.7, 0.8, 0.9], [0, 0, 0, 0])
    labels = torch.tensor([1, 0, 0, 0])
    assert estimated_accuracy(source, labels, source) == 0.75
    target = logits_of([0.6, 0.61, 0.62, 0.95], [0, 1, 0, 1])
    assert estimated_accuracy(source, labels, target) == 0.25


def test_confidence_drop_is_the_difference_of_means():
    """By hand."""
    source, target = logits_of([0.9, 0.9], [0, 1]), logits_of([0.6, 0.8], [0, 1])
    assert confidence_drop(source, target) == pytest.approx(0.2)


def test_difference_of_confidences_lowers_the_accuracy_of_the_source():
    """By hand: 3 of 4 right, and 0.15 less confident on the target."""
    source = logits_of([0.6, 0.7, 0.8, 0.9], [0, 0, 0, 0])
    target = logits_of([0.55, 0.65], [0, 1])
    estimate = estimated_by_confidence(source, torch.tensor([1, 0, 0, 0]), target)
    assert estimate == pytest.approx(0.75 - 0.15)


def test_what_cannot_be_varied_is_neither_doubted_nor_reported():
    """A shift that nobody painted: JSON has no NaN, and silence is not a doubt."""
    evidence = Evidence(0.9, 0.9, confidence_drop=0.0, class_share_distance=0.1)
    assert evidence.doubts(LIMITS) == []
    assert "shrinking_share" not in evidence.known()


def test_class_share_distance_is_the_total_variation():
    """By hand: shares (1/2, 1/2) against (1, 0) and against themselves."""
    labels = torch.tensor([0, 1])
    assert class_share_distance(labels, logits_of([0.9, 0.9], [0, 0])) == 0.5
    assert class_share_distance(labels, logits_of([0.9, 0.9], [1, 0])) == 0


def test_shrinking_share_follows_the_threshold_of_the_theory():
    """At s = 1 the threshold of m / s is 1.301: one example on each side of it."""
    noise = torch.tensor([-1.0, 1.0]) / 2**0.5  # standard deviation 1
    margins = torch.tensor([1.25, 1.35]) + noise[:, None]
    assert shrinking_share(margins) == 0.5


def test_margin_of_two_classes_is_the_difference_of_logits():
    """The w.x of the theory: log p / (1 - p)."""

    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([[1.0, -2.0]]).expand(len(images), -1)

    images = np.zeros((3, 2, 2, 2), np.uint8)
    margins = recoloured_margins(Fixed(), images, redraws=4, seed=0)
    torch.testing.assert_close(margins, torch.full((4, 3), 3.0, dtype=torch.float64))


BAD = Evidence(0.9, 0.3, 0.4, class_share_distance=0.5, recoloured_accuracy=0.3, shrinking_share=0.1)
GOOD = Evidence(0.4, 0.9, 0.0, class_share_distance=0.1, recoloured_accuracy=0.9, shrinking_share=0.9)


def test_every_doubt_is_named_with_its_value_and_limit():
    """A verdict without reasons cannot be argued with."""
    reasons = BAD.doubts(LIMITS)
    assert ["0.30 is below 0.50" in reasons[0], "0.10 of" in reasons[1]] == [True] * 2
    assert GOOD.doubts(LIMITS) == []
    assert verdict([GOOD, GOOD, BAD], LIMITS)["trust"]
    assert not verdict([GOOD, BAD], LIMITS)["trust"]


def test_confidence_decides_only_where_the_colour_cannot_be_varied():
    """A classifier that colour misleads is confident: fresh colours overrule it, in both directions."""
    assert Evidence(0.4, 0.9, 0.0, class_share_distance=0.0).doubts(LIMITS)
    assert not Evidence(0.6, 0.1, 0.0, class_share_distance=0.0).doubts(LIMITS)


def test_label_shift_alone_raises_no_doubt():
    """A target without the lower classes is predicted without them, and self-training still helps."""
    shifted = Evidence(0.9, 0.9, 0.0, class_share_distance=0.5, recoloured_accuracy=0.9, shrinking_share=0.9)
    assert shifted.doubts(LIMITS) == []


def test_outcomes_hold_the_criteria_and_both_accuracies():
    """What the verdict is validated on; a criterion that there is not is left out and read back as none."""
    plain = Evidence(0.9, 0.9, 0.0, class_share_distance=0.5)
    first, second = outcomes([GOOD, plain], [0.7, 0.6], [0.8, 0.5])
    assert (first["target_accuracy_before"], first["target_accuracy"]) == (0.7, 0.8)
    assert "shrinking_share" not in second
    assert [Evidence.of(first), Evidence.of(second)] == [GOOD, plain]


def test_fresh_colours_find_out_a_classifier_that_reads_the_colour():
    """By construction: its answer is the brighter channel, so fresh colours leave it at chance."""

    class Brighter(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(2).sum(2, dtype=torch.float32)

    labels = np.arange(1000) % 2
    images = np.zeros((1000, 2, 2, 2), np.uint8)
    images[np.arange(1000), labels] = 200
    split = Split(images, labels)
    assert (predict(Brighter(), torch.from_numpy(images)).argmax(1).numpy() == labels).all()
    assert recoloured_accuracy(Brighter(), split, seed=0) == pytest.approx(0.5, abs=0.05)


def bars(rng: np.random.Generator, size: int, *, aligned: float) -> Split:
    """Label: upper or lower half bright, with noise. Spurious: the channel balance."""
    labels = rng.integers(0, 2, size)
    grey = rng.integers(0, 140, (size, 4, 4))
    for half in (0, 1):
        grey[labels == half, 2 * half : 2 * half + 2] += 60
    colour = np.where(rng.random(size) < aligned, labels, rng.integers(0, 2, size)) * 0.8 + 0.1
    first = np.rint(grey * colour[:, None, None]).astype(np.uint8)
    return Split(np.stack([first, (grey - first).astype(np.uint8)], axis=1), labels)


def fitted(source: Split, epochs: int) -> nn.Module:
    network = build((2, 4, 4), 2, RobustConfig(hidden=[16], seeds=1), seed=0)[0]
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for _ in range(epochs):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(
            network(torch.from_numpy(source.images)), torch.from_numpy(source.labels)
        )
        loss.backward()
        optimiser.step()
    return network


@pytest.mark.parametrize(("aligned", "helps"), [(0.6, True), (1.0, False)])
def test_verdict_agrees_with_what_entropy_minimisation_then_does(aligned: float, *, helps: bool):
    """The purpose: said before, from unlabelled images, and compared with labels only here."""
    rng = np.random.default_rng(0)
    train, held_out, target = (bars(rng, 600, aligned=share) for share in (aligned, aligned, 0.0))
    network = fitted(train, 150)
    evidence = gather_evidence(network, held_out, target.images, redraws=10, seed=0)

    def accuracy() -> float:
        return (predict(network, torch.from_numpy(target.images)).argmax(1).numpy() == target.labels).mean()

    before = accuracy()
    optimiser = torch.optim.SGD(network.parameters(), 0.03, momentum=0.9)
    for _ in range(100):
        optimiser.zero_grad()
        entropy(network(torch.from_numpy(target.images))).mean().backward()
        optimiser.step()
    assert (accuracy() > before) == helps
    assert verdict([evidence], LIMITS)["trust"] == helps
