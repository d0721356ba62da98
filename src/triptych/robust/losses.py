"""What self-training minimises on unlabelled examples.

Pure functions of logits. A pseudo-label is a distribution over classes: all its
mass on one class (hard), or the network's own probabilities (soft), so that one
cross entropy serves both.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def entropy(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Shannon entropy of each prediction in nats, from 0 to log(classes)."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def cross_entropy(
    logits: Float[Tensor, "n classes"], target: Float[Tensor, "n classes"]
) -> Float[Tensor, " n"]:
    """-sum_k target_k log p_k; no gradient flows into `target`."""
    return F.cross_entropy(logits, target.detach(), reduction="none")


def pseudo_labels(logits: Float[Tensor, "n classes"], *, soft: bool) -> Float[Tensor, "n classes"]:
    """The predicted distributions (soft), or one-hot vectors of the predicted classes (hard)."""
    if soft:
        return logits.softmax(dim=1)
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)


def pseudo_label_weights(
    logits: Float[Tensor, "n classes"], *, threshold: float, balance: bool
) -> Float[Tensor, " n"]:
    """Weight of each pseudo-label: 0 below the confidence `threshold`, else 1.

    With `balance` every predicted class that is used has the same total weight,
    and the mean weight of what is used stays 1.
    """
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    used = (confidence >= threshold).to(logits.dtype)
    if not balance:
        return used
    totals = torch.zeros(logits.shape[1], dtype=logits.dtype).index_add_(0, predicted, used)
    share = used.sum() / (totals > 0).sum().clamp(min=1)
    return used * share / totals[predicted].clamp(min=1)


def weighted_mean(values: Float[Tensor, " n"], weights: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """sum(w v) / sum(w); 0 where every weight is 0, so that such a batch changes nothing."""
    total = weights.sum()
    return (weights * values).sum() / torch.where(total > 0, total, 1)
