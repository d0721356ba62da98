"""What self-training minimises on unlabelled examples.

Pure functions of logits. A pseudo-label is a distribution over classes: all its
mass on one class (hard), or the network's own probabilities (soft), so that one
cross entropy serves both.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def entropy(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Shannon entropy of each prediction in nats, from 0 to log(classes)."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def marginal_entropy(logits: Float[Tensor, "n classes"]) -> Float[Tensor, ""]:
    """Entropy of the mean prediction in nats: log(classes) where all classes are predicted alike."""
    p = logits.softmax(dim=1).mean(dim=0)
    return torch.special.entr(p).sum()


def poly_cross_entropy(
    logits: Float[Tensor, "n classes"], target: Float[Tensor, "n classes"], poly: float
) -> Float[Tensor, " n"]:
    """PolyLoss, -sum_k target_k (log p_k - poly (1 - p_k)) (Leng et al., arXiv 2204.12511, Poly-1)."""
    log_p = logits.log_softmax(dim=1)
    return -(target * (log_p - poly * (1 - log_p.exp()))).sum(dim=1)


def cross_entropy_of_labels(
    logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], poly: float
) -> Float[Tensor, " n"]:
    """The loss on labelled examples: cross entropy plus `poly` (1 - p of the label)."""
    values = F.cross_entropy(logits, labels, reduction="none")
    if poly == 0:
        return values
    return values + poly * (1 - logits.softmax(dim=1).gather(1, labels[:, None])[:, 0])


def conjugate_labels(logits: Float[Tensor, "n classes"], poly: float) -> Float[Tensor, "n classes"]:
    """The labels y at which the gradient of PolyLoss in the logits vanishes.

    (I + poly (diag(p) - p p^T)) y = p (arXiv 2207.09640, section 4), solved by
    Sherman and Morrison's formula; sums to 1, and is p itself for `poly` 0.
    """
    p = logits.softmax(dim=1)
    scaled = p / (1 + poly * p)
    return scaled / (1 - poly * (p * scaled).sum(dim=1, keepdim=True))


def conjugate_entropy(logits: Float[Tensor, "n classes"], poly: float) -> Float[Tensor, " n"]:
    """PolyLoss under its own conjugate labels, the gradient flowing through both."""
    return poly_cross_entropy(logits, conjugate_labels(logits, poly), poly)


def aligned(p: Float[Tensor, "n classes"], marginal: Float[Tensor, " classes"]) -> Float[Tensor, "n classes"]:
    """Predictions rescaled so that their mean moves to `marginal`, each summing to 1 (AdaMatch, eq. 2)."""
    scaled = p * marginal / p.mean(dim=0).clamp(min=1e-6)
    return scaled / scaled.sum(dim=1, keepdim=True)


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
