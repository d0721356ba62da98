"""Whether to trust self-training, before it is done: from the labelled source and the unlabelled target.

Every criterion is a function of the source classifier's logits; no label of the
target is read. Criteria from confidence alone are blind to a classifier that is
confidently misled by the spurious feature, so the feature that is suspected is
also varied: here the colour, on held-out source images, whose labels are known,
and on target images. Predicted class shares are reported and do not decide: under
label shift they move as far as under a failure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from triptych.config.robust import TrustConfig
from triptych.data.prepared import Split
from triptych.data.shift import repaint
from triptych.robust.linear import dr_ds
from triptych.robust.networks import predict

VARIED = 5000  # target images whose colours are drawn anew: enough for a share to half a percent


def estimated_accuracy(
    source: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], target: Float[Tensor, "m classes"]
) -> float:
    """Average thresholded confidence (Garg et al., arXiv 2201.04234, eq. 3), by maximum probability.

    The threshold is the confidence that as large a share of held-out source
    examples exceeds as is classified rightly; the estimate is the share of the
    target above it.
    """
    accuracy = (source.argmax(dim=1) == labels).double().mean().item()
    threshold = torch.quantile(_confidence(source), 1 - accuracy)
    return (_confidence(target) >= threshold).double().mean().item()


def confidence_drop(source: Float[Tensor, "n classes"], target: Float[Tensor, "m classes"]) -> float:
    """Difference of confidences (Guillory et al., arXiv 2107.03315): source minus target, -1 to 1."""
    return (_confidence(source).mean() - _confidence(target).mean()).item()


def estimated_by_confidence(
    source: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], target: Float[Tensor, "m classes"]
) -> float:
    """Accuracy on the held-out source less the difference of confidences (DoC, arXiv 2107.03315, eq. 4)."""
    accuracy = (source.argmax(dim=1) == labels).double().mean().item()
    return accuracy - confidence_drop(source, target)


def class_share_distance(labels: Int64[Tensor, " n"], target: Float[Tensor, "m classes"]) -> float:
    """Total variation between the source's class shares and the target's predicted ones, 0 to 1."""
    classes = target.shape[1]
    shares = [
        torch.bincount(each, minlength=classes).double() / len(each)
        for each in (labels, target.argmax(dim=1))
    ]
    return (shares[0] - shares[1]).abs().sum().item() / 2


def shrinking_share(margins: Float[Tensor, "views n"]) -> float:
    """Share of examples for which the theory says that minimising entropy shrinks what moves the margin.

    Over views of one example that differ in the spurious feature alone, the margin
    has mean m and standard deviation s; a smaller s means a smaller loss where
    dr/ds > 0 (`linear.dr_ds`). An analogy: the theory is of two classes and linear.
    """
    m, s = margins.double().mean(dim=0).numpy(), margins.double().std(dim=0).clamp(min=1e-6).numpy()
    return float(np.mean(dr_ds(m, s) > 0))


def recoloured_accuracy(network: nn.Module, source: Split, *, seed: int) -> float:
    """Accuracy on labelled source images whose colours are drawn anew from U[0, 1]."""
    colour = np.random.default_rng(seed).random(len(source), dtype=np.float32)
    predicted = predict(network, torch.from_numpy(repaint(source.images, colour))).argmax(dim=1)
    return float(np.mean(predicted.numpy() == source.labels))


def recoloured_margins(
    network: nn.Module, images: UInt8[np.ndarray, "n 2 height width"], *, redraws: int, seed: int
) -> Float[Tensor, "redraws n"]:
    """Margin of the class that is predicted now, in colours from U[0, 1] drawn anew: log p / (1 - p)."""
    rng = np.random.default_rng(seed)
    predicted = predict(network, torch.from_numpy(images)).argmax(dim=1, keepdim=True)
    margins = []
    for _ in range(redraws):
        view = torch.from_numpy(repaint(images, rng.random(len(images), dtype=np.float32)))
        log_p = predict(network, view).log_softmax(dim=1).double()
        others = log_p.scatter(1, predicted, -torch.inf).logsumexp(dim=1)
        margins.append(log_p.gather(1, predicted)[:, 0] - others)
    return torch.stack(margins)


@dataclass(frozen=True)
class Evidence:
    """The criteria of one source classifier."""

    estimated_accuracy: float
    estimated_by_confidence: float
    confidence_drop: float
    class_share_distance: float
    recoloured_accuracy: float | None = None  # None: the suspected feature cannot be varied
    shrinking_share: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Evidence":
        """The criteria among `values`, such as `known` gave."""
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})

    def known(self) -> dict[str, float]:
        """The criteria that there are, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def decency(self) -> float:
        """The best estimate of the accuracy on the target: in fresh colours, else from confidence."""
        return self.estimated_accuracy if self.recoloured_accuracy is None else self.recoloured_accuracy

    def doubts(self, limits: TrustConfig) -> list[str]:
        """Why self-training should not be trusted; empty where nothing speaks against it."""
        found = {
            f"estimated target accuracy {self.decency:.2f} is below {limits.accuracy:.2f}: "
            "self-training starts from a decent classifier": self.decency < limits.accuracy
        }
        if self.shrinking_share is not None:
            found |= {
                f"only for {self.shrinking_share:.2f} of the target, below {limits.shrinking_share:.2f}, "
                "does minimising entropy shrink the effect of the colour": (
                    self.shrinking_share < limits.shrinking_share
                )
            }
        return [reason for reason, holds in found.items() if holds]


def gather_evidence(
    network: nn.Module,
    source: Split,
    target: UInt8[np.ndarray, "n channels height width"],
    *,
    redraws: int,
    seed: int,
) -> Evidence:
    """The criteria of `network`: `source` is held out and labelled, `target` has no labels.

    Colours of `VARIED` target images are drawn anew `redraws` times, those of the
    source once; `redraws` is 0 where nothing is painted.
    """
    images = torch.from_numpy(target)
    on_source, on_target = predict(network, torch.from_numpy(source.images)), predict(network, images)
    labels = torch.from_numpy(source.labels)
    recoloured = shrinking = None
    if redraws:
        recoloured = recoloured_accuracy(network, source, seed=seed)
        margins = recoloured_margins(network, target[:VARIED], redraws=redraws, seed=seed)
        shrinking = shrinking_share(margins)
    return Evidence(
        estimated_accuracy(on_source, labels, on_target),
        estimated_by_confidence(on_source, labels, on_target),
        confidence_drop(on_source, on_target),
        class_share_distance(labels, on_target),
        recoloured,
        shrinking,
    )


def verdict(evidence: Sequence[Evidence], limits: TrustConfig) -> dict[str, Any]:
    """Trust where most repetitions raise no doubt; the reasons of each that does."""
    doubts = [each.doubts(limits) for each in evidence]
    clean = sum(not each for each in doubts)
    return {
        "trust": 2 * clean > len(doubts),
        "without_doubt": clean,
        "repetitions": [
            {**asdict(each), "doubts": reasons} for each, reasons in zip(evidence, doubts, strict=True)
        ],
    }


def outcomes(
    evidence: Sequence[Evidence], before: Iterable[float], after: Iterable[float]
) -> list[dict[str, float]]:
    """What was known of each repetition and what came of it: the rows that a verdict is validated on.

    before, after  accuracy on the labelled target test split
    """
    return [
        {**each.known(), "target_accuracy_before": start, "target_accuracy": end}
        for each, start, end in zip(evidence, before, after, strict=True)
    ]


def _confidence(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    return logits.softmax(dim=1).amax(dim=1).double()
