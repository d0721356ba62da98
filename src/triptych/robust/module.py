"""Training on the source and adaptation to the target, as Lightning modules.

A module trains the networks of all repetitions at once. Their losses are added
and SGD works on each weight alone, so every network is trained exactly as it
would be without the others.
"""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.config import EntropyConfig, SgdConfig, SourceConfig
from triptych.robust.datamodule import Batch, SourceDataModule, TargetDataModule
from triptych.robust.losses import weighted_mean
from triptych.robust.networks import predict
from triptych.robust.objectives import Objective


def sgd(networks: nn.Module, config: SgdConfig) -> torch.optim.Optimizer:
    """The paper's optimiser."""
    return torch.optim.SGD(
        networks.parameters(),
        config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


class SourceTraining(pl.LightningModule):
    """Cross entropy on the source; from epoch `reweight_after` on, errors weigh `reweight`.

    The weights are a second look at the source alone ("Just Train Twice", Liu et
    al., arXiv 2107.09044): what a briefly trained network gets wrong are mostly
    the images whose colour disagrees with their label. Training goes on instead
    of starting over.
    """

    weights: Tensor  # [repetitions, examples]
    reweighted: Tensor  # whether `weights` are final

    def __init__(self, networks: Sequence[nn.Module], config: SourceConfig, *, examples: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.config = config
        self.register_buffer("weights", torch.ones(len(networks), examples))
        self.register_buffer("reweighted", torch.tensor(config.reweight == 1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(self.networks, self.config)

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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels, index = batch
        losses = []
        for repetition, network in enumerate(self.networks):
            values = F.cross_entropy(network(images[repetition]), labels[repetition], reduction="none")
            losses.append(weighted_mean(values, self.weights[repetition, index[repetition]]))
        loss = torch.stack(losses)
        self.log("source_loss", loss.mean())
        return loss.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels, _ = batch
        right = [
            network(images[repetition]).argmax(dim=1) == labels[repetition]
            for repetition, network in enumerate(self.networks)
        ]
        self.log("source_accuracy", torch.stack(right).float().mean(), batch_size=labels.shape[1])


class Adaptation(pl.LightningModule):
    """Self-training on the target by an interchangeable objective, without its labels.

    The loss of a network is the objective plus `source_weight` times the cross
    entropy on labelled source examples.
    """

    round: Tensor  # the current round of the objective; -1 before the first

    def __init__(self, networks: Sequence[nn.Module], objective: Objective, config: EntropyConfig) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.objective = objective
        self.config = config
        self.register_buffer("round", torch.tensor(-1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(self.networks, self.config)

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
        weight = self.config.source_weight
        on_target, on_source = [], []
        for repetition, network in enumerate(self.networks):
            on_target.append(self.objective(network(target[repetition]), index[repetition], repetition))
            if weight > 0:
                on_source.append(F.cross_entropy(network(source[repetition]), labels[repetition]))
        loss = torch.stack(on_target)
        self.log(f"{self.objective.name}_target_loss", loss.mean())
        if not on_source:
            return loss.sum()
        source_loss = torch.stack(on_source)
        self.log(f"{self.objective.name}_source_loss", source_loss.mean())
        return loss.sum() + weight * source_loss.sum()
