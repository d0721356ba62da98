"""Losses of self-training against closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from triptych.robust.losses import (
    aligned,
    conjugate_entropy,
    conjugate_labels,
    cross_entropy,
    cross_entropy_of_labels,
    entropy,
    marginal_entropy,
    poly_cross_entropy,
    pseudo_label_weights,
    pseudo_labels,
    weighted_mean,
)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


def test_entropy_agrees_with_scipy(logits: Tensor):
    """An independent implementation of the same formula."""
    expected = stats.entropy(logits.softmax(1).numpy(), axis=1)
    np.testing.assert_allclose(entropy(logits).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
def test_entropy_of_indifference_is_log_of_the_classes(classes: int):
    """The largest value that it can have."""
    assert entropy(torch.zeros(1, classes)).item() == pytest.approx(np.log(classes))


def test_entropy_of_certainty_is_zero_with_a_finite_gradient():
    """0 log 0 must not become NaN: adapted networks are this certain."""
    logits = torch.tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    value = entropy(logits).sum()
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_gradient_of_entropy_is_the_closed_form(logits: Tensor):
    """dH/dz_k = -p_k (log p_k + H)."""
    logits.requires_grad_()
    value = entropy(logits)
    value.sum().backward()
    p = logits.softmax(1)
    torch.testing.assert_close(logits.grad, (-p * (p.log() + value[:, None])).detach())


def test_hard_cross_entropy_is_the_negative_log_probability(logits: Tensor):
    """A hard pseudo-label is treated exactly as a label would be."""
    predicted = logits.argmax(1)
    expected = -logits.log_softmax(1)[torch.arange(len(logits)), predicted]
    torch.testing.assert_close(cross_entropy(logits, pseudo_labels(logits, soft=False)), expected)


def test_soft_cross_entropy_of_itself_is_the_entropy_without_its_gradient(logits: Tensor):
    """With fresh soft labels q = p the gradient p - q vanishes: rounds must lag behind."""
    logits.requires_grad_()
    value = cross_entropy(logits, pseudo_labels(logits, soft=True))
    torch.testing.assert_close(value, entropy(logits))
    value.sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)


def test_gradient_of_cross_entropy_is_the_closed_form(logits: Tensor):
    """d/dz = p - q."""
    target = pseudo_labels(logits.flip(0), soft=True)
    logits.requires_grad_()
    cross_entropy(logits, target).sum().backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - target).detach())


def confident(*classes: int) -> Tensor:
    """Logits whose predictions are these classes with 95% and more."""
    return torch.nn.functional.one_hot(torch.tensor(classes), 3) * 6.0


def test_threshold_keeps_what_is_at_least_so_confident():
    """The weight of a pseudo-label below it is exactly 0."""
    logits = torch.cat([confident(0, 1), torch.tensor([[0.5, 0.0, 0.0]])])
    weights = pseudo_label_weights(logits, threshold=0.8, balance=False)
    assert weights.tolist() == [1, 1, 0]
    assert pseudo_label_weights(logits, threshold=0.0, balance=False).tolist() == [1, 1, 1]


def test_balance_gives_every_used_class_the_same_total():
    """A class that the network over-predicts would drown the others."""
    logits = torch.cat([confident(0, 0, 0, 1), torch.tensor([[0.0, 0.0, 0.5]])])
    weights = pseudo_label_weights(logits, threshold=0.8, balance=True)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 2 / 3, 2 / 3, 2, 0]))
    assert weights.sum().item() == pytest.approx(4)  # as many as are used: the loss keeps its scale


def test_weighted_mean_ignores_what_weighs_nothing():
    """An unused pseudo-label must not dilute the loss."""
    assert weighted_mean(torch.tensor([1.0, 5.0, 100.0]), torch.tensor([3.0, 1.0, 0.0])).item() == 2


def test_a_batch_without_any_pseudo_label_changes_nothing():
    """A high threshold in the first round leaves whole batches unused: no NaN, no step."""
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    mean = weighted_mean(values, torch.zeros(2))
    mean.backward()
    assert mean.item() == 0
    assert values.grad is not None
    assert values.grad.tolist() == [0, 0]


def test_marginal_entropy_is_that_of_the_mean_prediction(logits: Tensor):
    """Of the mean, not the mean of entropies: the one is diversity, the other certainty."""
    expected = stats.entropy(logits.softmax(1).mean(0).numpy())
    assert marginal_entropy(logits).item() == pytest.approx(expected)
    one_class = torch.zeros(5, 3).index_fill(1, torch.tensor([1]), 200.0)
    assert marginal_entropy(one_class).item() == 0


@pytest.mark.parametrize("poly", [0.0, 0.5, 3.0])
def test_conjugate_labels_make_the_source_loss_stationary(logits: Tensor, poly: float):
    """Their definition: autograd finds no slope of PolyLoss in the logits."""
    labels = conjugate_labels(logits, poly)
    torch.testing.assert_close(labels.sum(1), torch.ones(7, dtype=torch.float64))
    logits.requires_grad_()
    poly_cross_entropy(logits, labels, poly).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)


def test_conjugate_of_cross_entropy_is_entropy_and_of_polyloss_is_not(logits: Tensor):
    """Goyal et al., section 4: another loss has another conjugate."""
    torch.testing.assert_close(conjugate_entropy(logits, 0.0), entropy(logits))
    assert (conjugate_entropy(logits, 1.0) - entropy(logits)).abs().min() > 1e-3


@pytest.mark.parametrize("poly", [0.0, 2.0])
def test_loss_on_labels_is_polyloss_of_one_hot_vectors(logits: Tensor, poly: float):
    """The source is trained by exactly the loss whose conjugate is taken."""
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    expected = poly_cross_entropy(logits, torch.nn.functional.one_hot(labels, 4).double(), poly)
    torch.testing.assert_close(cross_entropy_of_labels(logits, labels, poly), expected)


def test_alignment_with_the_own_marginal_changes_nothing(logits: Tensor):
    """Without a shift of the class shares there is nothing to correct."""
    p = logits.softmax(1)
    torch.testing.assert_close(aligned(p, p.mean(0)), p)


def test_alignment_raises_the_class_that_is_predicted_too_rarely():
    """By hand: shares (0.8, 0.2) against (0.5, 0.5) weigh the second class four times the first."""
    p = torch.tensor([[0.8, 0.2], [0.8, 0.2]])
    torch.testing.assert_close(aligned(p, torch.tensor([0.5, 0.5])), torch.full((2, 2), 0.5))
