"""The two ways to self-train: entropy minimisation and pseudo-labels in rounds.

An objective sees logits and the positions of target examples, never labels.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from triptych.config import PseudoLabelConfig
from triptych.robust.losses import (
    cross_entropy,
    entropy,
    pseudo_label_weights,
    pseudo_labels,
    weighted_mean,
)


class Entropy(nn.Module):
    """The mean entropy of the predictions (Grandvalet & Bengio 2004; the paper, section 3)."""

    name: ClassVar = "entropy"
    rounds = 1

    def begin_round(self, repetition: int, logits: Float[Tensor, "n classes"]) -> None:
        """Nothing is remembered between batches."""

    def forward(
        self, logits: Float[Tensor, "batch classes"], index: Int64[Tensor, " batch"], repetition: int
    ) -> Float[Tensor, ""]:
        return entropy(logits).mean()


class PseudoLabel(nn.Module):
    """Cross entropy with the predictions that the network made when the round began (Lee 2013)."""

    name: ClassVar = "pseudo_label"
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

    def forward(
        self, logits: Float[Tensor, "batch classes"], index: Int64[Tensor, " batch"], repetition: int
    ) -> Float[Tensor, ""]:
        values = cross_entropy(logits, self.labels[repetition, index])
        return weighted_mean(values, self.weights[repetition, index])


Objective = Entropy | PseudoLabel
OBJECTIVES = (Entropy.name, PseudoLabel.name)
