"""DP-SGD: every record's gradient within the ball, batches drawn in secret, steps paid before use."""

from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from opacus.grad_sample import GradSampleModule

from triptych.config.data import DataConfig
from triptych.config.private import GeneratorConfig, PrivateConfig
from triptych.config.rivals import DPSGDGANConfig
from triptych.errors import ConfigError
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import SecureSource, SeededSource, poisson_sample
from triptych.private.budget import terms
from triptych.private.rivals.dp_sgd import GradientReleaser, clipped_sum
from triptych.private.rivals.dp_sgd_gan import DPSGDGAN, Discriminator, surprise
from triptych.private.rivals.steps import StepDataModule

DATA = DataConfig("digits", image_size=8, train_size=24, test_size=1)
SETTINGS = DPSGDGANConfig(
    loss="logistic",
    kind="mlp",
    width=6,
    sample_rate=0.3,
    steps=5,
    discriminator_steps=2,
    rows=7,
    learning_rate=1e-2,
    generator_learning_rate=1e-2,
    clip_norm=0.5,
    weight_bound=0.01,
    noise_multiplier=5.0,
)
CONFIG = PrivateConfig(
    method="dp_sgd_gan",
    generator=GeneratorConfig(kind="mlp", width=8, average=0.5),
    dp_sgd_gan=SETTINGS,
    epsilon_budget=10.0,
)


def losses(network, images, labels):
    return surprise(network(images, labels), real=True, loss="logistic")


@pytest.fixture
def records():
    torch.manual_seed(0)
    return torch.rand(24, 1, 8, 8), torch.arange(24) % 10


NETWORKS = {
    "mlp": replace(SETTINGS, width=4),
    "conv": replace(SETTINGS, width=4, kind="conv"),
    "conv, pooled": replace(SETTINGS, width=4, kind="conv", pool=2, label_scale=3.0),
    "onehot, pooled": replace(SETTINGS, width=4, pool=2, labels="onehot", label_scale=3.0),
}


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("clip_norm", [0.05, 1e3], ids=["clipped", "whole"])
def test_the_sum_is_that_of_opacus_own_single_gradients(records, settings, clip_norm):
    """Ghost clipping never forms them; here they are formed, clipped and added one by one."""
    torch.manual_seed(0)
    images, labels = records
    network = Discriminator(settings, DATA)
    ours = clipped_sum(network, losses, images, labels, clip_norm=clip_norm)
    single = GradSampleModule(network, loss_reduction="sum")
    losses(single, images.clone().requires_grad_(), labels).sum().backward()
    grads = torch.cat([getattr(p, "grad_sample").flatten(1) for p in network.parameters()], dim=1)  # noqa: B009  # Opacus adds it
    factors = (clip_norm / grads.norm(dim=1, keepdim=True)).clamp(max=1)
    assert torch.allclose(ours.float(), (factors * grads).sum(0), atol=1e-5)
    assert (grads.norm(dim=1) > 0.05).all()


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_discriminator_sees_pooled_pixels_and_a_label_of_the_set_norm(records, settings):
    """Where it hardly sees the label, the generator ends in one drawing for all."""
    network = Discriminator(settings, DATA)
    seen = []
    network.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    image = records[0][:1]
    network(image, torch.tensor([2]))
    network(image, torch.tensor([7]))
    mine, other = seen
    assert float((mine - other).norm()) == pytest.approx(settings.label_scale * 2**0.5, rel=1e-5)
    side = 8 // settings.pool
    means = image.reshape(side, settings.pool, side, settings.pool).mean((1, 3)).flatten()
    assert torch.allclose(mine[0, : side**2], means)
    assert mine.shape[1] == side**2 + 10 * (1 if settings.labels == "onehot" else side**2)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30, float("nan")])
def test_replacing_a_record_moves_the_sum_by_at_most_twice_the_clip_norm(records, scale):
    """The premise of the theorem, for a record that no honest data set contains."""
    torch.manual_seed(0)
    images, labels = records
    network = Discriminator(replace(SETTINGS, width=4), DATA)
    other = images.clone()
    other[3] = torch.randn(1, 8, 8) * scale
    relabelled = labels.clone()
    relabelled[3] = 9
    before = clipped_sum(network, losses, images, labels, clip_norm=0.1)
    after = clipped_sum(network, losses, other, relabelled, clip_norm=0.1)
    assert after.isfinite().all()
    assert (before - after).norm() <= 0.2 * (1 + 1e-4)


@pytest.mark.parametrize("source", [SeededSource(), SecureSource()], ids=["seeded", "secure"])
def test_each_record_is_drawn_on_its_own_with_the_sample_rate(source):
    """The theorem is that of Poisson sampling: sizes of batches vary as a binomial's."""
    torch.manual_seed(0)
    sizes = torch.tensor([float(len(poisson_sample(1000, 0.1, source))) for _ in range(200)])
    assert float(sizes.mean()) == pytest.approx(100, abs=3)
    assert float(sizes.std()) == pytest.approx(9.49, rel=0.2)
    assert len(poisson_sample(5, 1.0, source)) == 5


def test_an_empty_batch_releases_noise_alone(records):
    """Staying silent would tell that nobody was drawn."""
    none = torch.zeros(0, dtype=torch.int64)
    network = Discriminator(replace(SETTINGS, width=4), DATA)
    assert clipped_sum(network, losses, records[0][none], records[1][none], clip_norm=1.0).abs().max() == 0


def build(records, ledger, *, limit=100, config=CONFIG):
    torch.manual_seed(0)
    own = config.dp_sgd_gan
    images, labels = records
    door = GradientReleaser(
        images,
        labels,
        sample_rate=own.sample_rate,
        clip_norm=own.clip_norm,
        noise_multiplier=5.0,
        ledger=ledger,
        source=SeededSource(),
        limit=limit,
    )
    return DPSGDGAN(config, DATA, door)


def train(records, folder, *, limit=100, config=CONFIG):
    with Ledger(folder / "ledger.jsonl", mechanism(terms(config))) as ledger:
        module = build(records, ledger, limit=limit, config=config)
        before = [p.detach().clone() for p in module.generator.parameters()]
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(module, StepDataModule(config.dp_sgd_gan.steps))
        moved = any(not torch.equal(a, b) for a, b in zip(before, module.generator.parameters(), strict=True))
        return module, ledger.steps, moved


@pytest.mark.parametrize("clip_norm", [0.05, 1e3], ids=["clipped", "whole"])
def test_fakes_weigh_no_more_than_records_may(records, tmp_path, clip_norm):
    """Unclipped they would outweigh records that are; each one's gradient is formed alone here."""
    config = replace(CONFIG, dp_sgd_gan=replace(SETTINGS, clip_norm=clip_norm, clip_fakes=True))
    with Ledger(tmp_path / "ledger.jsonl", mechanism(terms(config))) as ledger:
        module = build(records, ledger, config=config)
    fake, labels = records
    total = torch.zeros(sum(p.numel() for p in module.discriminator.parameters()))
    for x, y in zip(fake.split(1), labels.split(1), strict=True):
        score = module.discriminator(x, y).sum()
        loss = torch.log1p(score.exp())
        grads = torch.autograd.grad(loss, list(module.discriminator.parameters()))
        grad = torch.cat([g.flatten() for g in grads])
        total += grad * min(1.0, clip_norm / float(grad.norm()))
    clipped = module.gradient_of_fakes(fake, labels)
    assert torch.allclose(torch.cat([g.flatten() for g in clipped]), total / len(labels), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated")
@pytest.mark.parametrize(
    "changes",
    [{"loss": "logistic"}, {"loss": "wasserstein"}, {"clip_fakes": True, "labels": "onehot", "pool": 2}],
    ids=["logistic", "wasserstein", "clipped fakes"],
)
def test_every_discriminator_step_is_paid_and_the_budget_stops_training(records, tmp_path, changes):
    """Only the discriminator's steps touch records; those of the fakes and the generator are free."""
    config = replace(CONFIG, dp_sgd_gan=replace(SETTINGS, **changes))
    (tmp_path / "all").mkdir()
    module, paid, moved = train(records, tmp_path / "all", config=config)
    assert int(module.steps_taken) == paid == 5
    assert moved
    if config.dp_sgd_gan.loss == "wasserstein":
        assert max(float(p.detach().abs().max()) for p in module.discriminator.parameters()) <= 0.01
    (tmp_path / "some").mkdir()
    module, paid, moved = train(records, tmp_path / "some", limit=1, config=config)
    assert int(module.steps_taken) == paid == 1
    assert not moved


def test_impossible_values_are_refused():
    """A rate above 1 has no meaning, and an unknown loss would train nothing."""
    with pytest.raises(ConfigError, match=r"private\.dp_sgd_gan\.sample_rate=1\.5 must be at most 1"):
        replace(SETTINGS, sample_rate=1.5).check()
    with pytest.raises(ConfigError, match=r"private\.dp_sgd_gan\.loss=hinge is unknown"):
        replace(SETTINGS, loss="hinge").check()
    with pytest.raises(ConfigError, match=r"private\.dp_sgd_gan\.labels=onehot needs kind=mlp, not conv"):
        replace(SETTINGS, kind="conv", labels="onehot").check()
