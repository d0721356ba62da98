"""A network that uses the colour must be told from one that does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.data.prepared import Split
from triptych.data.shift import ColourLaw, colour_bin, paint
from triptych.robust.diagnostics import (
    Trial,
    agreement,
    confidence,
    count_groups,
    examine,
    group_accuracies,
    headline,
    mean_and_sd,
    pooled,
    recolour,
    reliance,
    selection_score,
    summarise,
)

SIZE = 400


class ReadsColour(nn.Module):
    """Answers with the tenth that the colour lies in."""

    def forward(self, images: Tensor) -> Tensor:
        total = images.flatten(2).sum(2, dtype=torch.float32)
        tenth = (10 * total[:, 0] / total.sum(1)).clamp(max=9).long()
        return nn.functional.one_hot(tenth, 10).float()


class ReadsImage(nn.Module):
    """Answers with the label that is written into the grey level."""

    def forward(self, images: Tensor) -> Tensor:
        grey = images.sum(1, dtype=torch.int64)[:, 0, 0]
        return nn.functional.one_hot((grey - 200) // 5, 10).float()


@pytest.fixture(scope="module")
def trial() -> Trial:
    labels = np.arange(SIZE) % 10
    grey = np.tile((200 + 5 * labels).astype(np.uint8)[:, None, None], (1, 4, 4))
    law = ColourLaw(10, 1.0, seed=0)
    source, target = law.source("source_test", labels), law.target("target_test", SIZE)
    painted = paint(grey, target)
    return Trial(Split(paint(grey, source), labels), Split(painted, labels), target, painted, ways=10)


def test_a_network_that_reads_the_colour_is_found_out(trial: Trial):
    """Perfect on the source; on the target right where colours agree; at chance in fresh colours."""
    metrics = summarise([examine(ReadsColour(), trial, redraws=5, seed=0)], "before")
    assert metrics["source_accuracy_before"] > 0.95
    assert metrics["accuracy_group_aligned_before"] > 0.9
    assert metrics["accuracy_group_conflicting_before"] < 0.1
    assert metrics["target_accuracy_before"] < 0.25
    assert metrics["accuracy_recoloured_before_mean"] == pytest.approx(0.1, abs=0.04)
    assert 0 < metrics["accuracy_recoloured_before_sd"] < 0.04
    assert metrics["flip_rate_before"] == pytest.approx(0.9, abs=0.04)
    assert metrics["reliance_before"] > 0.9  # the painted bytes move a few colours to the next tenth


def test_a_network_that_ignores_the_colour_is_cleared(trial: Trial):
    """Any number below 1 would be the diagnosis' own error."""
    metrics = summarise([examine(ReadsImage(), trial, redraws=5, seed=0)], "before")
    assert metrics.pop("flip_rate_before") == metrics.pop("reliance_before") == 0
    assert {value for name, value in metrics.items() if not name.endswith("_sd")} == {1.0}


def test_groups_are_told_apart_by_colour_and_label():
    """Counted by hand: colours 0.05 and 0.95 point to labels 0 and 9."""
    groups = group_accuracies(
        np.array([0, 1, 1, 9]),
        np.array([0, 0, 1, 9]),
        np.array([0.05, 0.05, 0.05, 0.05], np.float32),
        ways=10,
    )
    assert groups == {"accuracy_group_aligned": 1 / 2, "accuracy_group_conflicting": 1.0}


def test_an_empty_group_has_no_accuracy():
    """A mean of nothing would be NaN, which JSON does not have."""
    groups = group_accuracies(np.array([0]), np.array([0]), np.array([0.05], np.float32), ways=10)
    assert groups == {"accuracy_group_aligned": 1.0}


def test_worst_group_is_the_lowest_of_those_with_enough_images():
    """By hand: 9 images, all wrong, are too few; of the others label 1 in the colour of 0 is the worst."""
    labels = np.repeat([0, 0, 1, 1], [12, 9, 20, 10])
    colour = np.repeat([0.2, 0.8, 0.2, 0.8], [12, 9, 20, 10]).astype(np.float32)
    predicted = np.concatenate([np.zeros(12), np.ones(9), np.zeros(15), np.ones(15)]).astype(np.int64)
    groups = count_groups(predicted, labels, colour, ways=2)
    assert groups.images.tolist() == [[12, 9], [20, 10]]
    assert groups.right.tolist() == [[12, 0], [5, 10]]
    assert groups.worst() == 0.25
    assert count_groups(labels[:9], labels[:9], colour[:9], ways=2).worst() is None


def test_groups_of_repetitions_are_pooled(trial: Trial):
    """Four images a group and repetition are too few alone, twelve are enough."""
    examined = [examine(ReadsColour(), trial, redraws=1, seed=0) for _ in range(3)]
    groups = pooled(examined)
    assert groups is not None
    assert groups.images.sum() == 3 * SIZE
    assert summarise(examined, "before")["accuracy_group_worst_before"] < 0.2


def test_every_redraw_has_colours_of_its_own(trial: Trial):
    """Repeating one draw would report a deviation of 0."""
    rng = np.random.default_rng(0)
    values = recolour(ReadsColour(), trial.source, ways=10, redraws=6, rng=rng).accuracies
    assert len(values) == 6
    assert len(set(values)) > 1


def test_mean_and_sd_over_the_repetitions_that_have_the_metric():
    """The sample deviation, as the results tables state it; no deviation of a single value."""
    summary = mean_and_sd([{"a": 1.0, "b": 5.0}, {"a": 3.0}], "after")
    assert summary == {"a_after": 2.0, "a_after_sd": np.sqrt(2), "b_after": 5.0, "b_after_sd": 0.0}


@pytest.mark.parametrize("objective", ["pseudo_label", "entropy"])
def test_headline_is_that_of_the_configured_objective(objective: str):
    """`robust.objective` decides which target accuracy is called the result."""
    metrics = {
        "source_accuracy_before": 0.97,
        "source_accuracy_before_sd": 0.01,
        "target_accuracy_before": 0.8,
        "source_accuracy_pseudo_label": 0.5,
        "target_accuracy_pseudo_label": 0.88,
        "target_accuracy_pseudo_label_sd": 0.02,
        "target_accuracy_entropy": 0.86,
        "target_accuracy_entropy_sd": 0.03,
    }
    after = headline(metrics, objective)
    assert after == {
        "source_accuracy": 0.97,
        "source_accuracy_sd": 0.01,
        "target_accuracy": metrics[f"target_accuracy_{objective}"],
        "target_accuracy_sd": metrics[f"target_accuracy_{objective}_sd"],
    }


def test_confidence_of_an_indifferent_network():
    """Known values: log 10 nats, and one tenth."""

    class Indifferent(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.zeros(len(images), 10)

    values = confidence(Indifferent(), np.zeros((3, 2, 4, 4), np.uint8))
    assert values == pytest.approx({"target_entropy": np.log(10), "target_confidence": 0.1})


def test_reliance_is_what_the_colour_draws_beyond_other_errors():
    """Four ways, counted by hand: the colour points to 3 and the label is 0 in all five."""
    labels, colour = np.zeros(5, np.int64), np.full(5, 0.9, np.float32)
    assert reliance(np.array([3, 3, 3, 1, 0]), labels, colour, ways=4) == pytest.approx(3 / 5 - 1 / 5 / 2)
    assert reliance(labels, labels, colour, ways=4) == 0
    assert reliance(np.array([3] * 5), labels, colour, ways=4) == 1
    assert reliance(np.array([1, 0]), np.array([0, 0]), np.array([0.9, 0.1], np.float32), ways=2) == 1


def test_agreement_is_the_share_of_equal_answers_over_pairs(trial: Trial):
    """A network agrees with itself; the colour points to the label in 1 of 10 target images."""
    images = trial.target.images
    assert agreement([ReadsImage(), ReadsImage()], images) == 1
    mixed = agreement([ReadsImage(), ReadsImage(), ReadsColour()], images)
    assert trial.target_colour is not None
    same = np.mean(colour_bin(trial.target_colour, 10) == trial.target.labels)
    assert mixed == pytest.approx((1 + 2 * same) / 3, abs=0.05)


def test_without_a_known_feature_groups_and_fresh_colours_are_left_out(trial: Trial):
    """Another data set as the target: a recoloured grey image is no image."""
    plain = replace(trial, target_colour=None, painted=False)
    metrics = summarise([examine(ReadsImage(), plain, redraws=5, seed=0)], "before")
    assert {name.removesuffix("_sd") for name in metrics} == {
        "selection_score_before",
        "source_accuracy_before",
        "target_accuracy_before",
    }


def test_selection_score_needs_no_label_of_the_target(trial: Trial):
    """Hyper-parameters are chosen by it: permuted target labels change the accuracy and not a bit of it."""
    labels = np.random.default_rng(0).permutation(trial.target.labels)
    permuted = replace(trial, target=Split(trial.target.images, labels))
    one, other = (examine(ReadsImage(), each, redraws=3, seed=0).metrics for each in (trial, permuted))
    assert one["selection_score"] == other["selection_score"]
    assert one["target_accuracy"] == 1 != other["target_accuracy"]


def test_selection_score_without_paint_is_the_information_about_the_class(trial: Trial):
    """Known values: all that there is for certain and even answers, none for one answer to all."""

    class Scaled(ReadsImage):
        def forward(self, images: Tensor) -> Tensor:
            return 1000 * super().forward(images)

    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([[9.0] + 9 * [0.0]]).expand(len(images), -1)

    assert selection_score(Scaled(), trial.unlabelled, None) == pytest.approx(1)
    assert selection_score(Constant(), trial.unlabelled, None) == pytest.approx(0, abs=1e-6)
