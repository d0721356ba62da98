"""DP-MERF AE: an autoencoder and an embedding, two releases in one ledger, and one network that leaves."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from pipelines.private_methods import train_encoder
from triptych.config.data import DataConfig
from triptych.config.private import GeneratorConfig, PrivateConfig
from triptych.config.rivals import DPMERFAEConfig
from triptych.errors import ConfigError
from triptych.privacy.accounting import epsilon
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.mechanism import EncodedEmbedding
from triptych.privacy.noise import SeededSource
from triptych.private.budget import affordable_steps, calibrated, terms
from triptych.private.rivals.autoencoder import AutoencoderTraining
from triptych.private.rivals.dp_merf_ae import DPMERFAE
from triptych.private.rivals.dp_sgd import GradientReleaser
from triptych.private.rivals.embedding import Embedding, FourierFeatures, pay_once
from triptych.private.rivals.steps import StepDataModule

DATA = DataConfig("digits", image_size=8, train_size=24, test_size=1)
SETTINGS = DPMERFAEConfig(
    features=10,
    length_scale=0.3,
    steps=3,
    batch_size=4,
    learning_rate=1e-2,
    codes=5,
    encoder_steps=4,
    encoder_learning_rate=1e-2,
    sample_rate=0.3,
    clip_norm=0.5,
    gradient_noise=2.0,
)
CONFIG = PrivateConfig(
    method="dp_merf_ae",
    generator=GeneratorConfig(kind="mlp", width=8, average=0.5, upsample=2),
    dp_merf_ae=SETTINGS,
    epsilon_budget=10.0,
)


@pytest.fixture
def records():
    torch.manual_seed(0)
    return torch.rand(24, 1, 8, 8), torch.arange(24) % 10


@pytest.fixture
def training(records, tmp_path):
    """Makes an autoencoder's training and its open ledger."""
    ledgers = []

    def make(*, limit=100, noise=1.0):
        torch.manual_seed(0)
        ledger = Ledger(tmp_path / "ledger.jsonl", mechanism(terms(calibrated(CONFIG))))
        ledgers.append(ledger)
        door = GradientReleaser(
            *records,
            sample_rate=SETTINGS.sample_rate,
            clip_norm=SETTINGS.clip_norm,
            noise_multiplier=noise,
            ledger=ledger,
            source=SeededSource(),
            limit=limit,
        )
        return AutoencoderTraining(CONFIG, DATA, door), ledger

    yield make
    for ledger in ledgers:
        ledger.close()


def fit(module, steps):
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, StepDataModule(steps))


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated")
@pytest.mark.parametrize(("limit", "taken"), [(100, 4), (2, 2)])
def test_every_step_of_the_autoencoder_is_paid_and_the_budget_stops_it(training, limit, taken):
    """The encoder learns from records; the step that pays for the embedding is left, and paid once."""
    module, ledger = training(limit=limit)
    fit(module, SETTINGS.encoder_steps)
    assert int(module.steps_taken) == ledger.steps == taken
    embedding = Embedding(FourierFeatures(5, 10, 0.3), 10)
    for _ in range(2):  # an attempt that continues after a kill
        pay_once(
            ledger.path.with_name("embedding.safetensors"),
            ledger,
            embedding,
            lambda: torch.randn(10, 10),
            step=SETTINGS.encoder_steps,
        )
    assert ledger.steps == taken + 1


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated")
def test_the_autoencoder_learns_to_give_images_back(training, records):
    """With hardly any noise the error falls; else the codes would say nothing of the images."""
    module, _ = training(noise=1e-3, limit=1000)
    labels = records[1]
    images = (labels % 2).float()[:, None, None, None].expand(-1, 1, 8, 8)  # black or white
    module.releaser.images = images
    before = module.errors(module.autoencoder, images, labels).mean()
    fit(module, 100)
    assert module.errors(module.autoencoder, images, labels).mean() < 0.3 * before


def test_what_leaves_is_the_generator_of_codes_and_the_decoder(training):
    """Two networks leave as one of the known kind: a wrong product of layers would draw other images."""
    module, _ = training()
    autoencoder = module.autoencoder
    trained = DPMERFAE(CONFIG, DATA, Embedding(FourierFeatures(5, 10, 0.3), 10), autoencoder)
    labels = torch.arange(10)
    torch.manual_seed(3)
    codes = trained.fakes(labels)
    drawn = torch.sigmoid(autoencoder.exit(torch.relu(autoencoder.entry(codes)))).reshape(10, 1, 4, 4)
    torch.manual_seed(3)
    latent = trained.generator.draw_latent(10)
    images = trained.released(latent, labels)
    torch.testing.assert_close(images, F.interpolate(drawn, scale_factor=2, mode="bilinear"))


def test_the_decoder_stays_as_it_was_released(training):
    """Only the generator of codes is fitted: the embedding says nothing of images."""
    module, _ = training()
    trained = DPMERFAE(CONFIG, DATA, Embedding(FourierFeatures(5, 10, 0.3), 10), module.autoencoder)
    trained.log = lambda *_, **__: None
    trained.training_step([torch.zeros(1)], 0).backward()
    assert all(p.grad is not None for p in trained.learner.parameters())
    assert all(p.grad is None for p in module.autoencoder.parameters())


def test_the_budget_covers_both_releases():
    """Null noise is what the composition affords, and its steps are one more than the encoder's."""
    config = calibrated(CONFIG)
    event = terms(config).event
    assert isinstance(event, EncodedEmbedding)
    assert event.steps == affordable_steps(config) == SETTINGS.encoder_steps + 1
    sampled, embedding = event.release.parts
    assert embedding.noise_multiplier == config.dp_merf_ae.noise_multiplier
    assert sampled.noise_multiplier == 2 * embedding.noise_multiplier
    assert (sampled.count, embedding.count) == (4, 1)
    with pytest.raises(ConfigError, match=r"dp_merf_ae\.noise_multiplier=0\.1 .*noise_multiplier="):
        affordable_steps(replace(CONFIG, dp_merf_ae=replace(SETTINGS, noise_multiplier=0.1)))


def test_more_noise_than_the_budget_asks_for_is_accounted_at_once(monkeypatch):
    """Millions of steps that nobody plans took the accountant a minute before the first one."""
    asked = []

    def noted(event, delta, *, accountant):
        asked.append(event.steps)
        return epsilon(event, delta, accountant=accountant)

    monkeypatch.setattr("triptych.privacy.accounting.epsilon", noted)
    config = replace(CONFIG, dp_merf_ae=replace(SETTINGS, noise_multiplier=30.0))
    planned = SETTINGS.encoder_steps + 1
    limit = affordable_steps(config)
    assert limit >= 10 * planned
    assert 0 < max(asked) <= limit
    assert epsilon(replace(terms(config).event, steps=limit), CONFIG.delta, accountant="pld") < 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dp_merf_ae": replace(SETTINGS, codes=0)}, r"private\.dp_merf_ae\.codes=0 must be above 0"),
        ({"dp_merf_ae": replace(SETTINGS, sample_rate=1.5)}, r"sample_rate=1\.5 must be at most 1"),
        (
            {"generator": replace(CONFIG.generator, kind="resnet", upsample=1)},
            r"generator\.kind=resnet must be mlp with private\.method=dp_merf_ae",
        ),
    ],
)
def test_impossible_values_are_refused(change, message):
    """A decoder that fits into no generator would be found out after the encoder was paid for."""
    config = replace(CONFIG, **change)
    with pytest.raises(ConfigError, match=message):
        config._check_method()  # the other networks are not set here


class Attempt(SimpleNamespace):
    """A stage whose training moves the weights and the random numbers."""

    def fit(self, training: torch.nn.Linear, data: StepDataModule, *, epochs: int, curves: str) -> None:
        with torch.no_grad():
            training.weight.copy_(torch.randn(data.steps, 1))
        (self.out / curves).write_text("curves")


def test_attempt_that_goes_on_behind_the_autoencoder_draws_the_same_noise(tmp_path: Path):
    """Killed between the two releases, it must end as if nothing had happened."""
    seen = []
    for name in ("whole", "continued"):
        out = tmp_path / name
        out.mkdir()
        attempt: Any = Attempt(out=out, config=SimpleNamespace(seed=3))
        training: Any = torch.nn.Linear(1, 4)
        train_encoder(attempt, training, tmp_path, 4)
        seen.append(
            (training.weight.tolist(), (out / "private_encoder.csv").read_text(), torch.randn(3).tolist())
        )
    assert seen[0] == seen[1]
