"""The ways to self-train, interchangeable and at equal budget.

An objective sees target images, their positions and source images: labels of
the target do not exist here, and those of the source belong to the source loss
beside it (`module.Adaptation`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from triptych.config.robust import MatchConfig, PseudoLabelConfig, RobustConfig
from triptych.robust.losses import (
    aligned,
    conjugate_entropy,
    cross_entropy,
    entropy,
    marginal_entropy,
    pseudo_label_weights,
    pseudo_labels,
    weighted_mean,
)
from triptych.robust.views import gain_jitter

Images = UInt8[Tensor, "batch channels height width"]


@dataclass(frozen=True)
class Part:
    """One network's part of a batch: what an objective may look at."""

    network: nn.Module
    target: Images
    index: Int64[Tensor, " batch"]  # positions of `target` in the data set
    source: Images
    repetition: int


class Objective(nn.Module, ABC):
    """What one network's training on the target minimises; remembers nothing unless it says so."""

    name: ClassVar[str]
    rounds = 1
    source_loss: ClassVar = True  # whether the labelled source may be trained on beside it

    def begin_round(self, repetition: int, logits: Float[Tensor, "n classes"]) -> None:
        """Told at the start of every round what the network says of every target example."""

    def trainable(self, network: nn.Module) -> Iterator[nn.Parameter]:
        """The parameters of the network that may change."""
        return network.parameters()

    @abstractmethod
    def forward(self, part: Part) -> Float[Tensor, ""]:
        """The loss of one network on its part of a batch."""


class Entropy(Objective):
    """The mean entropy of the predictions (Grandvalet & Bengio 2004; the paper, section 3)."""

    name = "entropy"

    def forward(self, part: Part) -> Float[Tensor, ""]:
        return entropy(part.network(part.target)).mean()


class Tent(Entropy):
    """Entropy through the scales and shifts of batch normalisation alone (TENT, arXiv 2006.10726).

    Without the source; the normalisation uses the statistics of the target.
    """

    name = "tent"
    source_loss = False

    def trainable(self, network: nn.Module) -> Iterator[nn.Parameter]:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                yield from module.parameters()


class InformationMaximisation(Objective):
    """Each prediction certain, all together even: the loss of SHOT (arXiv 2002.08546, eq. 2 and 3).

    SHOT also freezes the last layer and adds clustered pseudo-labels; neither is done here.
    """

    name = "information_maximisation"

    def forward(self, part: Part) -> Float[Tensor, ""]:
        logits = part.network(part.target)
        return entropy(logits).mean() - marginal_entropy(logits)


class Conjugate(Objective):
    """The conjugate of the source loss (Goyal et al., arXiv 2207.09640).

    Of cross entropy (`poly` 0) it is entropy itself; of PolyLoss it is another one.
    """

    name = "conjugate"

    def __init__(self, poly: float) -> None:
        super().__init__()
        self.poly = poly

    def forward(self, part: Part) -> Float[Tensor, ""]:
        return conjugate_entropy(part.network(part.target), self.poly).mean()


class PseudoLabel(Objective):
    """Cross entropy with the predictions that the network made when the round began (Lee 2013)."""

    name = "pseudo_label"
    labels: Tensor  # [repetitions, examples, classes]
    weights: Tensor  # [repetitions, examples]

    def __init__(self, config: PseudoLabelConfig, *, repetitions: int, examples: int, classes: int) -> None:
        super().__init__()
        self.config, self.rounds = config, config.rounds
        # Buffers, so that a run that is killed within a round continues with the same pseudo-labels.
        self.register_buffer("labels", torch.zeros(repetitions, examples, classes))
        self.register_buffer("weights", torch.zeros(repetitions, examples))

    def begin_round(self, repetition: int, logits: Float[Tensor, "n classes"]) -> None:
        """Predict every target example anew and keep the confident ones."""
        config = self.config
        self.labels[repetition] = pseudo_labels(logits, soft=config.soft)
        self.weights[repetition] = pseudo_label_weights(
            logits, threshold=config.threshold, balance=config.balance
        )

    def forward(self, part: Part) -> Float[Tensor, ""]:
        values = cross_entropy(part.network(part.target), self.labels[part.repetition, part.index])
        return weighted_mean(values, self.weights[part.repetition, part.index])


class FixMatch(Objective):
    """The plain view's confident prediction teaches the strong view (arXiv 2001.07685, eq. 4)."""

    name = "fixmatch"

    def __init__(self, config: MatchConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, part: Part) -> Float[Tensor, ""]:
        with torch.no_grad():
            logits = part.network(part.target)
        used = pseudo_label_weights(logits, threshold=self.config.threshold, balance=False)
        strong = part.network(gain_jitter(part.target, self.config.gain))
        return (used * cross_entropy(strong, pseudo_labels(logits, soft=False))).mean()


class AdaMatch(FixMatch):
    """FixMatch with soft labels whose class shares are the source's, and a relative threshold.

    AdaMatch (arXiv 2106.04732, section 3.3); its interpolation of logits concerns
    batch normalisation and is left out, as is the source's strong view.
    """

    name = "adamatch"

    def forward(self, part: Part) -> Float[Tensor, ""]:
        with torch.no_grad():
            on_source = part.network(part.source).softmax(dim=1)
            labels = aligned(part.network(part.target).softmax(dim=1), on_source.mean(dim=0))
        threshold = self.config.relative_threshold * on_source.amax(dim=1).mean()
        used = (labels.amax(dim=1) >= threshold).to(labels.dtype)
        strong = part.network(gain_jitter(part.target, self.config.gain))
        return (used * cross_entropy(strong, labels)).mean()


def make_objective(name: str, config: RobustConfig, *, examples: int, classes: int) -> Objective:
    """The objective called `name`, one of `config.OBJECTIVES`, for `examples` target images."""
    if name == PseudoLabel.name:
        return PseudoLabel(config.pseudo_label, repetitions=config.seeds, examples=examples, classes=classes)
    if name == Conjugate.name:
        return Conjugate(config.source.poly)
    if name in (FixMatch.name, AdaMatch.name):
        return (FixMatch if name == FixMatch.name else AdaMatch)(config.match)
    plain = {each.name: each for each in (Entropy, Tent, InformationMaximisation)}
    return plain[name]()
