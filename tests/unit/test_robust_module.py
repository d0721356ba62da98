"""Training: repetitions apart, no target labels, rounds on time, exact resume."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from triptych.config.robust import (
    OBJECTIVES,
    AdaptConfig,
    MatchConfig,
    PseudoLabelConfig,
    RobustConfig,
    ShiftConfig,
    SourceConfig,
)
from triptych.data.prepared import Split
from triptych.data.resume import EpochSampler, ExactResume
from triptych.data.shift import read_repetition, read_unlabelled, shift, write_shifted
from triptych.errors import DataError
from triptych.robust.datamodule import SourceDataModule, TargetDataModule
from triptych.robust.groups import groups
from triptych.robust.last_layer import balanced_weights, retrain_last_layer
from triptych.robust.losses import entropy
from triptych.robust.module import Adaptation, SourceTraining
from triptych.robust.networks import Classifier, build, predict
from triptych.robust.objectives import PseudoLabel, make_objective

SGD = {"batch_size": 16, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.002}
SOURCE = SourceConfig(epochs=3, reweight=20, reweight_after=2, **SGD)
ADAPT = AdaptConfig(epochs=6, source_weight=0.5, **SGD)
PSEUDO_LABEL = PseudoLabelConfig(rounds=3, threshold=0.3, balance=True, soft=False)
MATCH = MatchConfig(threshold=0.2, relative_threshold=0.5, gain=0.5)
SHAPE, REPETITIONS, EXAMPLES = (2, 4, 4), 2, 48
ROBUST = RobustConfig(
    hidden=[8], seeds=REPETITIONS, source=SOURCE, adapt=ADAPT, pseudo_label=PSEUDO_LABEL, match=MATCH
)

pytestmark = [
    # Lightning advises workers for its loaders; the batches are slices of memory.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    # ExactResume and EpochSampler continue where the checkpoint was made.
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch"),
    # The trainer that resumes keeps no checkpoints of its own.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]
Training = TypeVar("Training", SourceTraining, Adaptation)


def digits(seed: int, size: int) -> Split:
    """Images in which the label is a bright pixel among noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (size, 1, 4, 4), np.uint8)
    labels = rng.integers(0, 10, size)
    images[np.arange(size), 0, labels // 4, labels % 4] = 255
    return Split(images, labels)


def networks(repetitions: int = REPETITIONS, *, batch_norm: bool = False) -> list[nn.Module]:
    return list(build(SHAPE, 10, replace(ROBUST, seeds=repetitions, batch_norm=batch_norm), seed=0))


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def trainer(epochs: int, *callbacks: pl.Callback, max_steps: int = -1) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        max_steps=max_steps,
        logger=False,
        callbacks=[ExactResume(0), *callbacks],
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic=True,
    )


def prepared(folder: Path, target_labels: np.ndarray | None = None) -> Path:
    """A shifted data set whose target half has labels of its own, or the given ones."""
    train, test = digits(0, 2 * EXAMPLES), digits(1, 10)
    if target_labels is not None:
        train.labels[EXAMPLES:] = target_labels
    config = ShiftConfig(ways=10, p=0.9, source_train_size=40, source_test_size=8)
    write_shifted(folder, shift(train, test, config, seed=0), card={})
    return folder


def source_data(folder: Path, repetitions: int = REPETITIONS) -> SourceDataModule:
    train, test = (
        [read_repetition(folder, name, r)[0] for r in range(repetitions)]
        for name in ("source_train", "source_test")
    )
    return SourceDataModule(train, test, batch_size=16, seed=0)


def target_data(folder: Path) -> TargetDataModule:
    target = [read_unlabelled(folder, "target_train", r) for r in range(REPETITIONS)]
    source = [read_repetition(folder, "source_train", r)[0] for r in range(REPETITIONS)]
    return TargetDataModule(target, source, batch_size=16, seed=0)


def source_training(repetitions: int = REPETITIONS) -> SourceTraining:
    return SourceTraining(networks(repetitions), SOURCE, examples=40)


def adaptation(name: str) -> Adaptation:
    objective = make_objective(name, ROBUST, examples=EXAMPLES, classes=10)
    return Adaptation(networks(batch_norm=name == "tent"), objective, ADAPT)


def test_a_repetition_is_trained_as_if_it_were_alone(tmp_path: Path):
    """One fit for all repetitions is a convenience that must not couple them."""
    folder = prepared(tmp_path)
    both = source_training()
    alone = source_training(1)
    trainer(SOURCE.epochs).fit(both, source_data(folder))
    trainer(SOURCE.epochs).fit(alone, source_data(folder, 1))
    assert torch.equal(weights(both.networks[0]), weights(alone.networks[0]))
    assert not torch.equal(weights(both.networks[0]), weights(both.networks[1]))


def test_source_training_learns_the_source(tmp_path: Path):
    """Without it every comparison would be one of untrained networks."""
    data = source_data(prepared(tmp_path))
    module = SourceTraining(networks(), replace(SOURCE, reweight=1), examples=40)
    trainer(60).fit(module, data)
    for repetition, network in enumerate(module.networks):
        predicted = predict(network, data.train.images[repetition]).argmax(1)
        assert (predicted == data.train.labels[repetition]).float().mean() > 0.9


def test_errors_of_the_young_network_weigh_more(tmp_path: Path):
    """Exactly those that it made after `reweight_after` epochs, and no others."""
    data = source_data(prepared(tmp_path))
    module = source_training()
    early = source_training()
    trainer(SOURCE.reweight_after).fit(early, data)
    trainer(SOURCE.epochs).fit(module, data)
    for repetition, network in enumerate(early.networks):
        wrong = predict(network, data.train.images[repetition]).argmax(1) != data.train.labels[repetition]
        assert 0 < wrong.sum() < 40
        assert torch.equal(module.weights[repetition], torch.where(wrong, 20.0, 1.0))


def test_starting_anew_is_training_from_the_first_weights_with_those_of_the_errors(tmp_path: Path):
    """As Just Train Twice says: nothing else may come from the first training, momentum included."""
    data = source_data(prepared(tmp_path))
    module = SourceTraining(
        networks(), replace(SOURCE, restart=True, epochs=2, reweight_after=1), examples=40
    )
    trainer(2).fit(module, data)
    fresh = SourceTraining(networks(), replace(SOURCE, reweight=1), examples=40)
    fresh.weights.copy_(module.weights)
    optimiser = fresh.configure_optimizers()
    loader = data.train_dataloader()
    assert isinstance(loader.sampler, EpochSampler)
    loader.sampler.set_epoch(1)
    fresh.log = lambda *_, **__: None
    for index, batch in enumerate(loader):
        optimiser.zero_grad()
        fresh.training_step(batch, index).backward()
        optimiser.step()
    torch.testing.assert_close(weights(module), weights(fresh))
    assert len(module.weights.unique()) == 2


def test_group_dro_moves_the_weight_to_the_worse_group(tmp_path: Path):
    """Sagawa et al., algorithm 1, one step by hand; then it trains."""
    folder = prepared(tmp_path)
    misled = torch.zeros(REPETITIONS, 40, dtype=torch.bool)
    misled[:, :4] = True
    module = SourceTraining(
        networks(), replace(SOURCE, reweight=1, group_dro=0.5), examples=40, misled=misled
    )
    values = torch.arange(1.0, 7.0)
    loss = module._worst_group(values, 0, torch.tensor([0, 1, 2, 20, 21, 22]))
    grown = torch.tensor([0.5 * 5, 0.5 * 2]).exp()  # not misled: 4, 5, 6; misled: 1, 2, 3
    q = grown / grown.sum()
    torch.testing.assert_close(module.group_weights[0], q)
    torch.testing.assert_close(loss, q[0] * 5 + q[1] * 2)
    trainer(5).fit(module, source_data(folder))
    assert torch.allclose(module.group_weights.sum(1), torch.ones(REPETITIONS))


def test_last_layer_alone_is_trained_and_the_rare_group_counts_as_much_as_the_other():
    """At the minimum the gradient of the balanced loss vanishes; the features have not moved."""
    network = networks(1)[0]
    assert isinstance(network, Classifier)
    split = digits(0, 60)
    images = torch.from_numpy(np.repeat(split.images, 2, axis=1))
    labels, misled = torch.from_numpy(split.labels), torch.arange(60) < 6
    before = {name: value.clone() for name, value in network.named_parameters()}
    retrain_last_layer(network, images, labels, misled)
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"layers.2.weight", "layers.2.bias"}
    network.zero_grad()
    values = nn.functional.cross_entropy(network(images), labels, reduction="none")
    last = network.linear()[-1]
    (0.5 * values[:6].mean() + 0.5 * values[6:].mean() + 1e-3 * last.weight.square().sum()).backward()
    assert last.weight.grad is not None
    assert last.weight.grad.abs().max() < 5e-3
    torch.testing.assert_close(balanced_weights(misled).sum(), torch.tensor(1.0))


def test_groups_of_a_shift_without_a_known_feature_are_refused():
    """Nothing can be balanced that is not known."""
    with pytest.raises(DataError, match=r"this shift has none; set group_dro=0 and last_layer=false"):
        groups([digits(0, 3)], [None], 10)
    split, colour = (
        Split(np.zeros((2, 2, 1, 1), np.uint8), np.array([0, 0])),
        np.array([0.05, 0.5], np.float32),
    )
    painted = groups([split], [colour], 10)
    assert painted.tolist() == [[False, True]]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_permuting_the_target_labels_changes_no_bit(tmp_path: Path, objective: str):
    """Adaptation is unsupervised: labels of the target must not reach it by any path."""
    labels = np.random.default_rng(5).integers(0, 10, EXAMPLES)
    results = []
    for name, target_labels in (("one", None), ("other", labels)):
        module = adaptation(objective)
        data = target_data(prepared(tmp_path / name, target_labels))
        trainer(module.config.epochs).fit(module, data)
        results.append(weights(module))
    assert torch.equal(*results)
    assert not torch.equal(results[0], weights(adaptation(objective)))  # it did train


def test_entropy_of_the_target_falls(tmp_path: Path):
    """The one thing that the objective promises."""
    data, module = target_data(prepared(tmp_path)), adaptation("entropy")

    def entropies() -> list[float]:
        logits = [
            predict(net, images) for net, images in zip(module.networks, data.train.images, strict=True)
        ]
        return [entropy(each).mean().item() for each in logits]

    before = entropies()
    trainer(20).fit(module, data)
    assert all(a < b / 2 for a, b in zip(entropies(), before, strict=True))


def test_tent_moves_nothing_but_batch_normalisation(tmp_path: Path):
    """Its whole argument: a few parameters cannot forget the source."""
    module, untouched = adaptation("tent"), networks(batch_norm=True)
    trainer(2).fit(module, target_data(prepared(tmp_path)))
    for network, before in zip(module.networks, untouched, strict=True):
        old = dict(before.named_parameters())
        changed = {name for name, value in network.named_parameters() if not torch.equal(value, old[name])}
        assert changed == {"layers.1.weight", "layers.1.bias"}


def test_conjugate_of_cross_entropy_trains_the_same_bits_as_entropy(tmp_path: Path):
    """The theorem of the conjugate's paper: with cross entropy the two are one method."""
    folder, results = prepared(tmp_path), []
    for name in ("entropy", "conjugate"):
        module = adaptation(name)
        trainer(2).fit(module, target_data(folder))
        results.append(weights(module))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


class CountedPseudoLabel(PseudoLabel):
    """Notes when rounds begin: `epoch` is set by the test's callback."""

    def __init__(self) -> None:
        super().__init__(PSEUDO_LABEL, repetitions=REPETITIONS, examples=EXAMPLES, classes=10)
        self.epoch, self.begun = 0, []

    def begin_round(self, repetition: int, logits: torch.Tensor) -> None:
        super().begin_round(repetition, logits)
        self.begun.append((self.epoch, repetition))


def test_rounds_begin_on_time_for_every_repetition(tmp_path: Path):
    """Six epochs, three rounds: new pseudo-labels in epochs 0, 2 and 4, and only there."""
    objective = CountedPseudoLabel()

    class Clock(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            objective.epoch = trainer.current_epoch

    module = Adaptation(networks(), objective, ADAPT)
    trainer(ADAPT.epochs, Clock()).fit(module, target_data(prepared(tmp_path)))
    assert objective.begun == [(epoch, r) for epoch in (0, 2, 4) for r in range(REPETITIONS)]


def killed_and_resumed(
    make: Callable[[], Training], data: pl.LightningDataModule, folder: Path, *, killed_after: int
) -> Training:
    """Train with a checkpoint every batch, stop, and go on with a new module in a new trainer."""
    part, resumed = make(), make()
    keep = ModelCheckpoint(folder / "checkpoints", save_last=True, every_n_train_steps=1)
    trainer(part.config.epochs, keep, max_steps=killed_after).fit(part, data)
    last = str(folder / "checkpoints/last.ckpt")
    trainer(part.config.epochs).fit(resumed, data, ckpt_path=last, weights_only=True)
    return resumed


@pytest.mark.parametrize(
    ("objective", "killed_after"),
    [("pseudo_label", 4), ("pseudo_label", 6), ("pseudo_label", 8), ("adamatch", 4), ("tent", 8)],
)
def test_a_killed_adaptation_ends_at_the_same_bits(tmp_path: Path, objective: str, killed_after: int):
    """Three batches an epoch: killed within a round, at its end, within the next one."""
    data, whole = target_data(prepared(tmp_path)), adaptation(objective)
    trainer(whole.config.epochs).fit(whole, data)
    resumed = killed_and_resumed(lambda: adaptation(objective), data, tmp_path, killed_after=killed_after)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("killed_after", [4, 6, 8])
def test_a_killed_source_training_ends_at_the_same_bits(tmp_path: Path, killed_after: int):
    """The weights of the errors are part of the state, whenever they were set."""
    data, whole = source_data(prepared(tmp_path)), source_training()
    trainer(SOURCE.epochs).fit(whole, data)
    resumed = killed_and_resumed(source_training, data, tmp_path, killed_after=killed_after)
    assert torch.equal(weights(resumed), weights(whole))
    assert torch.equal(resumed.weights, whole.weights)


def test_every_epoch_shows_each_repetition_every_example_once(tmp_path: Path):
    """The per-repetition order must be a permutation, or examples would be lost unseen."""
    data = target_data(prepared(tmp_path))
    seen = torch.cat([index for _, index, _, _ in data.train_dataloader()], dim=1)
    assert seen.shape == (REPETITIONS, EXAMPLES)
    assert torch.equal(seen.sort(dim=1).values, torch.arange(EXAMPLES).expand(REPETITIONS, -1))
    assert not torch.equal(seen[0], seen[1])


def test_batches_pair_images_with_their_own_labels(tmp_path: Path):
    """A slip of one axis would train on shuffled labels."""
    folder = prepared(tmp_path)
    data = source_data(folder)
    for images, labels, index in data.train_dataloader():
        for r in range(REPETITIONS):
            split = read_repetition(folder, "source_train", r)[0].take(index[r].numpy())
            np.testing.assert_array_equal(images[r].numpy(), split.images)
            np.testing.assert_array_equal(labels[r].numpy(), split.labels)
