"""What the privacy argument demands of training: isolation, one door, payment before use."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from triptych.config.data import DataConfig
from triptych.config.private import (
    ClassifierConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    PrivateConfig,
    RepulsionConfig,
    WarmStartConfig,
)
from triptych.config.system import TrainerConfig
from triptych.data.partition import partition
from triptych.data.prepared import Split
from triptych.errors import ConfigError
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import SeededSource
from triptych.private.batches import ShardDataModule, StepBatches
from triptych.private.budget import affordable_steps, check_devices, terms
from triptych.private.ensemble import pooled
from triptych.private.module import GSWGAN
from triptych.private.release import Releaser, labels_seen
from triptych.private.sampling import draw_samples
from triptych.private.variety import repulsion_weight, with_impostors
from triptych.private.warm_start import WarmStart

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:.*LeafSpec.*is deprecated",  # Lightning 2.6 beside torch 2.13
)

DATA = DataConfig("digits", image_size=8, train_size=24, test_size=1)
CONFIG = PrivateConfig(
    discriminators=6,
    generator=GeneratorConfig(kind="mlp", width=8, learning_rate=1e-3, average=0.5),
    discriminator=DiscriminatorConfig(kind="mlp", width=4, batch_size=3, learning_rate=1e-2),
    warm_start=WarmStartConfig(steps=3, width=4, learning_rate=1e-2),
    classifier=ClassifierConfig(width=2, epochs=1, batch_size=8, learning_rate=1e-3),
    steps=4,
    rows=5,
    discriminator_steps=2,
    noise_multiplier=5.0,
    epsilon_budget=10.0,
    samples_per_class=2,
)
INDEPENDENT, SHARED = replace(CONFIG, release="independent"), replace(CONFIG, release="shared")
CONV = replace(CONFIG, discriminator=replace(CONFIG.discriminator, kind="conv", width=2))
IMPOSTORS = replace(CONFIG, impostors=2)
POOLED = replace(CONFIG, discriminator=replace(CONFIG.discriminator, pool=2, label_scale=15.0))


@pytest.fixture
def records():
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (24, 1, 8, 8)).astype(np.uint8), np.arange(24) % 10)


Module = TypeVar("Module", bound=pl.LightningModule)


def neighbour(split, index):
    """The same records but one."""
    images, labels = split.images.copy(), split.labels.copy()
    images[index], labels[index] = 255 - images[index], (labels[index] + 1) % 10
    return Split(images, labels)


def fit(module: Module, split: Split, config: PrivateConfig, *, steps: int) -> Module:
    shards = partition(24, config.discriminators, seed=0)
    size = config.discriminator.batch_size
    repeats = 1 if isinstance(module, WarmStart) else config.discriminator_steps
    trained = None if isinstance(module, WarmStart) else config.discriminator.trained
    batches = StepBatches(
        split, shards, steps=steps, repeats=repeats, batch_size=size, seed=0, trained=trained
    )
    torch.manual_seed(1)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, ShardDataModule(batches))
    return module


@pytest.fixture
def gswgan(tmp_path):
    """Makes modules, each with a ledger of its own that is closed afterwards."""
    ledgers = []

    def make(split, config, *, limit=100, generator_rate=None):
        torch.manual_seed(0)
        ledger = Ledger(tmp_path / f"ledger{len(ledgers)}.jsonl", mechanism(terms(config)))
        ledgers.append(ledger)
        seen = labels_seen(split.labels, partition(24, config.discriminators, seed=0), 10)
        if generator_rate is not None:
            config = replace(config, generator=replace(config.generator, learning_rate=generator_rate))
        return GSWGAN(config, DATA, Releaser(config, ledger, SeededSource(), limit, seen))

    yield make
    for ledger in ledgers:
        ledger.close()


def changed_members(first, second):
    """The discriminators whose weights differ in any bit."""
    states = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return {j for a, b in states for j in range(len(a)) if not torch.equal(a[j], b[j])}


@pytest.mark.parametrize("config", [CONFIG, CONV, POOLED], ids=["mlp", "conv", "pooled"])
def test_one_record_changes_one_discriminator_of_the_warm_start(records, config):
    """A statistic shared between members would put a record into more than one block."""
    trained = []
    for split in (records, neighbour(records, 7)):
        torch.manual_seed(0)
        trained.append(fit(WarmStart(config, DATA), split, config, steps=3).ensemble)
    shards = partition(24, 6, seed=0)
    assert changed_members(*trained) == {int(np.nonzero((shards == 7).any(1))[0][0])}


@pytest.mark.parametrize(
    "config", [CONFIG, CONV, POOLED, IMPOSTORS], ids=["mlp", "conv", "pooled", "impostors"]
)
def test_one_record_changes_one_discriminator_of_the_main_loop(records, config, gswgan):
    """With the generator held still: what a record does must stay in its shard until the release."""
    trained = [
        fit(gswgan(split, config, generator_rate=1e-30), split, config, steps=3).ensemble
        for split in (records, neighbour(records, 7))
    ]
    shards = partition(24, 6, seed=0)
    assert changed_members(*trained) == {int(np.nonzero((shards == 7).any(1))[0][0])}


@pytest.mark.parametrize(
    "config", [CONFIG, CONV, INDEPENDENT, SHARED], ids=["mlp", "conv", "drawn", "shared"]
)
def test_chunks_change_no_result(records, config, gswgan):
    """Memory is the machine's business; a result must not depend on it."""

    def trained(chunk):
        cut = replace(config, discriminator=replace(config.discriminator, chunk=chunk))
        torch.manual_seed(0)
        warm = fit(WarmStart(cut, DATA), records, cut, steps=2).ensemble
        module = gswgan(records, cut)
        module.ensemble.load_state_dict(warm.state_dict())
        return fit(module, records, cut, steps=3).state_dict()

    whole = trained(None)
    for chunk in (4, 1):
        cut = trained(chunk)
        for name, value in whole.items():  # other kernels for other sizes; a step of Adam is 1e-2
            torch.testing.assert_close(cut[name], value, rtol=0, atol=1e-4)


def test_only_the_discriminators_in_turn_are_trained(records, gswgan):
    """Rotation is public and a function of the step: the theorems of secret draws rest on it."""
    config = replace(SHARED, discriminator=replace(SHARED.discriminator, trained=2))
    module = gswgan(records, config)
    start = {name: value.clone() for name, value in module.ensemble.state_dict().items()}

    class Before:
        def state_dict(self):
            return start

    fit(module, records, config, steps=2)
    assert changed_members(Before(), module.ensemble) == {0, 1, 2, 3}


class Silence:
    """A source without noise; its draws are the row numbers."""

    name = "silence"

    def normal(self, *shape):
        return torch.zeros(*shape, dtype=torch.float64)

    def draws(self, count, choices):
        return torch.arange(count) % choices


@pytest.mark.parametrize(
    ("config", "drawn_for"),
    [(CONFIG, range(5)), (INDEPENDENT, [2]), (SHARED, range(5)), (POOLED, range(5))],
    ids=["full", "independent", "shared", "pooled"],
)
def test_a_hostile_discriminator_moves_the_release_no_further_than_accounted(
    records, config, drawn_for, gswgan
):
    """End to end through the door: the change of the released sum is at most the certified sensitivity."""
    module = gswgan(records, config)
    door = replace(module.releaser, source=Silence(), seen=torch.ones(6, 10, dtype=torch.bool))
    fake, labels = pooled(torch.rand(5, 1, 8, 8), config.discriminator.pool), torch.arange(5)
    hostile = 0 if config.release == "shared" else 2  # whom Silence draws for all rows, or for row 2
    before = door(module.ensemble, fake, labels, step=0)
    with torch.no_grad():
        for parameter in module.ensemble.parameters():
            parameter[hostile] = parameter[hostile] * -1e6
    after = door(module.ensemble, fake, labels, step=1)
    difference = (after - before).flatten(1)
    summed = difference.norm() * 6 if config.release == "full" else difference.norm(dim=1).max()
    assert summed <= terms(config).sensitivity * (1 + 1e-5)
    assert summed > 0.1 * terms(config).clip_norm
    assert set(difference.any(1).nonzero().flatten().tolist()) == set(drawn_for)


def test_the_full_release_is_the_mean_of_clipped_blocks(records, gswgan):
    """The generator follows the discriminators' mean opinion, as in a plain GAN, when nothing is clipped."""
    config = replace(CONFIG, clip_norm=1e6)
    module = gswgan(records, config)
    door = replace(module.releaser, source=Silence(), seen=torch.ones(6, 10, dtype=torch.bool))
    fake, labels = torch.rand(5, 1, 8, 8, requires_grad=True), torch.arange(5)
    released = door(module.ensemble, fake.detach(), labels, step=0)
    loss = -module.ensemble(fake.expand(6, -1, -1, -1, -1), labels.expand(6, -1)).mean(0).sum()
    (plain,) = torch.autograd.grad(loss, fake)
    assert torch.allclose(released, plain, atol=1e-6)


def test_the_gradient_of_what_is_seen_reaches_every_pixel(records, gswgan):
    """Without clip and noise the generator's gradient is that of a plain GAN on smaller images."""
    config = replace(POOLED, clip_norm=1e6)
    module = gswgan(records, config)
    module.releaser = replace(module.releaser, source=Silence(), seen=torch.ones(6, 10, dtype=torch.bool))
    module.manual_backward = lambda loss, gradient: loss.backward(gradient)
    module.optimizers = lambda: [torch.optim.SGD(module.generator.parameters(), 0.0)]
    torch.manual_seed(2)
    module.train_generator()
    torch.manual_seed(2)
    labels = torch.randint(10, (5,))
    fake = module.generator(module.generator.draw_latent(5), labels)
    small = fake.reshape(5, 1, 4, 2, 4, 2).mean((3, 5))
    loss = -module.ensemble(small.expand(6, -1, -1, -1, -1), labels.expand(6, -1)).mean()
    for parameter, plain in zip(
        module.generator.parameters(),
        torch.autograd.grad(loss, list(module.generator.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(parameter.grad, plain, rtol=1e-4, atol=1e-9)


def test_the_repulsion_is_the_slope_of_the_mean_distance_and_has_no_part_in_the_release(records, gswgan):
    """It is added behind the door: what is released and paid for is the same with it."""
    generator = replace(CONFIG.generator, latent="normal")  # two equal codes would have no slope
    config = replace(CONFIG, repulsion=RepulsionConfig(weight=0.5), generator=generator)
    module = gswgan(records, config)
    asked, used = [], []

    def door(ensemble, fake, labels, *, step):
        asked.append((fake, labels))
        return torch.zeros_like(fake)

    module.releaser = door
    module.manual_backward = lambda fake, gradient: (used.append(gradient), fake.backward(gradient))
    module.optimizers = lambda: [torch.optim.SGD(module.generator.parameters(), 0.0)]
    module.train_generator()
    assert used[0].abs().max() == 0, "nothing pushes before the ramp"
    torch.manual_seed(3)
    module.train_generator()
    torch.manual_seed(3)
    labels = torch.randint(10, (5,))
    rows = module.generator(module.generator.draw_latent(5), labels)
    codes = module.generator.draw_latent(8, 5)
    others = torch.stack([module.generator(code, labels) for code in codes]).detach()
    leaf = rows.detach().requires_grad_()
    distance = (leaf - others).square().sum((2, 3, 4)).sqrt()
    softened = distance - 1e-3 * (distance + 1e-3).log()  # has the slope d / (d + 1e-3)
    loss = -0.5 * softened.mean(0).sum() / len(rows)
    (slope,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(asked[1][0], rows.detach())
    torch.testing.assert_close(used[1], slope, rtol=1e-3, atol=1e-6)


def test_impostors_are_real_images_of_the_member_under_the_label_of_another():
    """A discriminator that never sees them may judge an image without looking at its label."""
    real = torch.arange(12.0).reshape(2, 6, 1, 1, 1)
    fake = -1 - real
    shown = with_impostors(fake, real, 2).flatten(2).squeeze(2)
    assert shown.tolist() == [[5, 0, -3, -4, -5, -6], [11, 6, -9, -10, -11, -12]]
    assert with_impostors(fake, real, 0) is fake


def test_the_rate_of_the_generator_falls_to_its_last_share(records, gswgan):
    """At constant rate the noise of the last releases would stay in the weights."""
    module = gswgan(records, replace(CONFIG, final_rate=0.1))
    rates = [module.learning_rate(step) for step in (0, 2, 4)]
    assert rates == pytest.approx([1e-3, 5.5e-4, 1e-4])
    fit(module, records, CONFIG, steps=4)
    (group,) = module.optimizers()[0].param_groups
    assert group["lr"] == pytest.approx(module.learning_rate(3))


def test_the_repulsion_sets_in_after_the_labels():
    """Pushed apart from the start, drawings leave their label before it is learned."""
    settings = RepulsionConfig(weight=0.2, start=100, full=300)
    weights = [repulsion_weight(settings, step) for step in (0, 100, 200, 300, 900)]
    assert weights == pytest.approx([0, 0, 0.1, 0.2, 0.2])


def test_discriminators_abstain_on_labels_they_never_saw(records, gswgan):
    """Their opinion would be noise that eats the clipping bound of the informed rows."""
    module = gswgan(records, CONFIG)
    none_seen = replace(module.releaser, source=Silence(), seen=torch.zeros(6, 10, dtype=torch.bool))
    fake, labels = torch.rand(5, 1, 8, 8), torch.arange(5)
    assert none_seen(module.ensemble, fake, labels, step=0).abs().max() == 0
    seen = labels_seen(np.array([0, 1, 1, 3]), np.array([[0, 1], [2, 3]]), 4)
    assert seen.tolist() == [[True, True, False, False], [False, True, False, True]]


def test_every_step_is_paid_before_it_is_taken(records, gswgan):
    """The ledger must have as many entries as the generator has taken steps."""
    module = fit(gswgan(records, CONFIG), records, CONFIG, steps=4)
    assert int(module.steps_taken) == module.releaser.ledger.steps == 4


def test_training_stops_cleanly_where_the_budget_ends(records, gswgan):
    """After steps were repeated, the planned number no longer fits: the last ones are left out."""
    module = gswgan(records, CONFIG, limit=3)
    module.releaser.ledger.record(0)  # lost in a kill, paid already
    fit(module, records, CONFIG, steps=4)
    assert int(module.steps_taken) == 2
    assert module.releaser.ledger.steps == 3


def test_too_much_epsilon_is_refused_with_what_would_fit():
    """Before the first step, with numbers that can be typed in."""
    with pytest.raises(ConfigError, match=r"cost epsilon=.*noise_multiplier=(\S+) or steps=(\d+)") as caught:
        affordable_steps(replace(CONFIG, steps=10_000))
    noise, steps = str(caught.value).split("noise_multiplier=")[-1].split(" or steps=")
    assert affordable_steps(replace(CONFIG, steps=int(steps))) == int(steps)
    assert affordable_steps(replace(CONFIG, steps=10_000, noise_multiplier=float(noise))) >= 10_000


@pytest.mark.parametrize(
    ("trainer", "change", "message"),
    [
        (TrainerConfig(devices=4, threads=1), {}, r"devices=4 must divide private\.discriminators=6"),
        (TrainerConfig(devices=2, threads=1), {"method": "dp_merf"}, "dp_merf trains on one device"),
    ],
)
def test_processes_that_cannot_share_the_work_are_refused(trainer, change, message):
    """Before any of them is forked."""
    with pytest.raises(ConfigError, match=message):
        check_devices(trainer, replace(CONFIG, **change))


def test_samples_are_balanced_and_belong_to_the_average(records, gswgan):
    """Downstream stages take them for a prepared training split."""
    module = gswgan(records, CONFIG)
    samples = draw_samples(module.released, 7, batch_size=16)
    assert samples.images.shape == (70, 1, 8, 8)
    assert samples.images.dtype == np.uint8
    assert samples.class_counts(10) == [7] * 10


def test_batches_stay_in_their_shard_and_follow_the_step(records):
    """Row j belongs to shard j, no image twice in a batch, and step t is the same after a kill."""
    images = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None, None, None], (24, 1, 8, 8))
    shards = partition(24, 6, seed=0)

    def batches() -> StepBatches:
        numbered = Split(images.copy(), records.labels)
        return StepBatches(numbered, shards, steps=5, repeats=2, batch_size=3, seed=0)

    chosen, labels = batches()[3]
    numbers = chosen[..., 0, 0, 0].numpy()
    for repeat in numbers:
        for row, shard in zip(repeat, shards, strict=True):
            assert len(set(row) & set(shard)) == 3
    assert np.array_equal(labels.numpy(), records.labels[numbers])
    assert np.array_equal(batches()[3][0], chosen)
    assert not np.array_equal(batches()[4][0], chosen)
