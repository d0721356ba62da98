"""The published experiments as configs: their constants, and what each release of them costs."""

from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir

from tests.unit.test_config import CONF
from triptych.config import Config, load
from triptych.errors import ConfigError
from triptych.privacy.accounting import epsilon
from triptych.privacy.mechanism import IndependentDraws, SharedDraw
from triptych.private.budget import affordable_steps, calibrated, terms


def experiment(name: str, *overrides: str) -> Config:
    with initialize_config_dir(CONF, version_base="1.3"):
        return load(compose("config", overrides=[f"experiment=paper/{name}", *overrides]))


@pytest.mark.parametrize(("name", "data"), [("gswgan_mnist", "mnist"), ("gswgan_fashion", "fashion_mnist")])
def test_the_published_constants(name, data):
    """Transcribed here a second time from the paper and its released code."""
    config = experiment(name)
    private = config.private
    assert (config.data.name, config.data.train_size, private.discriminators) == (data, 60_000, 1000)
    generator = private.generator
    assert (generator.kind, generator.width, generator.average) == ("resnet", 64, 0.999)
    assert (generator.latent, generator.latent_size) == ("bernoulli", 10)
    judge = private.discriminator
    assert (judge.kind, judge.width, judge.batch_size) == ("conv", 64, 32)
    assert (judge.gradient_penalty, judge.drift) == (10, 0.001)
    assert judge.learning_rate == generator.learning_rate == private.warm_start.learning_rate == 1e-4
    assert (private.warm_start.steps, private.warm_start.discriminator_steps) == (2000, 5)
    assert (private.steps, private.rows, private.discriminator_steps) == (20_000, 32, 5)
    assert (private.clip_norm, private.noise_multiplier, private.delta) == (1.0, 1.07, 1e-5)
    assert (private.classifier.epochs, private.classifier.batch_size) == (50, 128)
    assert private.samples_per_class == 6000


@pytest.mark.parametrize(
    ("release", "event", "cost"), [("shared", SharedDraw, 346.66), ("independent", IndependentDraws, 5.51)]
)
def test_each_release_is_accounted_by_its_own_theorem(release, event, cost):
    """One switch: the same constants, another promise."""
    config = experiment("gswgan_mnist", f"private.release={release}").private
    planned = terms(config).event
    assert isinstance(planned, event)
    assert config.accounted_by == "pld"
    assert epsilon(planned, 1e-5, accountant="pld") == pytest.approx(cost, abs=0.02)


def test_the_published_noise_is_refused_for_the_full_release():
    """It would cost thousands; what fits is named, and a null noise finds it."""
    full = experiment("gswgan_mnist", "private.release=full", "private.epsilon_budget=10").private
    with pytest.raises(ConfigError, match="what fits: noise_multiplier=70"):
        affordable_steps(full)
    fitting = calibrated(replace(full, noise_multiplier=None))
    assert fitting.noise_multiplier == pytest.approx(70.7, abs=0.1)  # sqrt(20000) / 2.0004
    assert affordable_steps(fitting) >= 20_000


def test_the_claimed_epsilon_is_refused_for_the_shared_draw():
    """The published claim is a budget of 10; its own mechanism does not keep it."""
    shared = replace(experiment("gswgan_mnist").private, epsilon_budget=10.0, steps=100)
    with pytest.raises(ConfigError, match="cost epsilon="):
        affordable_steps(shared)
