"""Training on the source and adaptation to the target, as Lightning modules.

A module trains the networks of all repetitions at once. Their losses are added
and SGD works on each weight alone, so every network is trained exactly as it
would be without the others.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy

import pytorch_lightning as pl
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from triptych.config.robust import AdaptConfig, SgdConfig, SourceConfig
from triptych.robust.datamodule import Batch, SourceDataModule, TargetDataModule
from triptych.robust.losses import cross_entropy_of_labels, weighted_mean
from triptych.robust.networks import predict
from triptych.robust.objectives import Objective, Part


def sgd(parameters: Iterable[nn.Parameter], config: SgdConfig) -> torch.optim.Optimizer:
    """The paper's optimiser."""
    return torch.optim.SGD(
        parameters,
        config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


class SourceTraining(pl.LightningModule):
    """Cross entropy on the source; from epoch `reweight_after` on, errors weigh `reweight`.

    The weights are a second look at the source alone ("Just Train Twice", Liu et
    al., arXiv 2107.09044): what a briefly trained network gets wrong are mostly
    the images whose colour disagrees with their label. Training goes on, or
    starts over with `restart`. With `group_dro` the worse of two groups, which
    `misled` tells apart, gains weight at every step (Sagawa et al., arXiv
    1911.08731, algorithm 1).
    """

    weights: Tensor  # [repetitions, examples]
    group_weights: Tensor  # [repetitions, 2]: colour points to the label, or elsewhere
    reweighted: Tensor  # whether `weights` are final

    def __init__(
        self,
        networks: Sequence[nn.Module],
        config: SourceConfig,
        *,
        examples: int,
        misled: Bool[Tensor, "r n"] | None = None,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.config, self.misled = config, misled
        self.first_weights = [deepcopy(network.state_dict()) for network in networks]
        self.register_buffer("weights", torch.ones(len(networks), examples))
        self.register_buffer("group_weights", torch.full((len(networks), 2), 0.5))
        self.register_buffer("reweighted", torch.tensor(config.reweight == 1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(self.networks.parameters(), self.config)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if not self.reweighted and self.current_epoch >= self.config.reweight_after:
            self._reweight()
            self.reweighted.fill_(True)

    def _reweight(self) -> None:
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]  # set by `fit`
        assert isinstance(data, SourceDataModule)
        for repetition, network in enumerate(self.networks):
            images = data.train.images[repetition].to(self.device)
            wrong = predict(network, images).argmax(dim=1) != data.train.labels[repetition].to(self.device)
            self.weights[repetition] = torch.where(wrong, self.config.reweight, 1.0)
        if self.config.restart:
            for network, first in zip(self.networks, self.first_weights, strict=True):
                network.load_state_dict(first)
            self.trainer.optimizers[0].state.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels, index = batch
        losses = []
        for repetition, network in enumerate(self.networks):
            logits = network(images[repetition])
            values = cross_entropy_of_labels(logits, labels[repetition], self.config.poly)
            if self.config.group_dro:
                losses.append(self._worst_group(values, repetition, index[repetition]))
            else:
                losses.append(weighted_mean(values, self.weights[repetition, index[repetition]]))
        loss = torch.stack(losses)
        self.log("source_loss", loss.mean())
        return loss.sum()

    def _worst_group(self, values: Tensor, repetition: int, index: Tensor) -> Tensor:
        assert self.misled is not None, "group DRO needs the groups"
        misled = self.misled[repetition].to(index.device)[index].to(values.dtype)
        groups = torch.stack([weighted_mean(values, 1 - misled), weighted_mean(values, misled)])
        grown = self.group_weights[repetition] * (self.config.group_dro * groups.detach()).exp()
        self.group_weights[repetition] = grown / grown.sum()
        return (self.group_weights[repetition].clone() * groups).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels, _ = batch
        right = [
            network(images[repetition]).argmax(dim=1) == labels[repetition]
            for repetition, network in enumerate(self.networks)
        ]
        self.log("source_accuracy", torch.stack(right).float().mean(), batch_size=labels.shape[1])


class Adaptation(pl.LightningModule):
    """Self-training on the target by an interchangeable objective, without its labels.

    The loss of a network is the objective plus `source_weight` times the source
    loss on labelled source examples, unless the objective refuses the source.
    """

    round: Tensor  # the current round of the objective; -1 before the first

    def __init__(
        self, networks: Sequence[nn.Module], objective: Objective, config: AdaptConfig, poly: float = 0.0
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.objective = objective
        self.config, self.poly = config, poly
        self.register_buffer("round", torch.tensor(-1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trainable = [each for network in self.networks for each in self.objective.trainable(network)]
        return sgd(trainable, self.config)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        due = self.current_epoch * self.objective.rounds // self.config.epochs
        if self.round < due:
            self._begin_round()
            self.round.fill_(due)

    def _begin_round(self) -> None:
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]  # set by `fit`
        assert isinstance(data, TargetDataModule)
        for repetition, network in enumerate(self.networks):
            logits = predict(network, data.train.images[repetition].to(self.device))
            self.objective.begin_round(repetition, logits)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        target, index, source, labels = batch
        weight = self.config.source_weight if self.objective.source_loss else 0
        on_target, on_source = [], []
        for r, network in enumerate(self.networks):
            on_target.append(self.objective(Part(network, target[r], index[r], source[r], r)))
            if weight > 0:
                values = cross_entropy_of_labels(network(source[r]), labels[r], self.poly)
                on_source.append(values.mean())
        loss = torch.stack(on_target)
        self.log(f"{self.objective.name}_target_loss", loss.mean())
        if not on_source:
            return loss.sum()
        source_loss = torch.stack(on_source)
        self.log(f"{self.objective.name}_source_loss", source_loss.mean())
        return loss.sum() + weight * source_loss.sum()
