"""Impossible settings of the private panel are refused before any work, with the fix in the text."""

from dataclasses import replace

import pytest

from triptych.config.data import DataConfig
from triptych.config.private import (
    ClassifierConfig,
    DiscriminatorConfig,
    EvaluationConfig,
    GeneratorConfig,
    PrivateConfig,
    RepulsionConfig,
    WarmStartConfig,
)
from triptych.config.rivals import DPSGDGANConfig
from triptych.errors import ConfigError

DATA = DataConfig("digits", image_size=8, train_size=1440, test_size=357)
CONFIG = PrivateConfig(
    discriminators=240,
    generator=GeneratorConfig(kind="mlp", width=8, learning_rate=1e-3, average=0.5),
    discriminator=DiscriminatorConfig(kind="mlp", width=4, batch_size=6, learning_rate=1e-2),
    warm_start=WarmStartConfig(steps=3, width=4, learning_rate=1e-2),
    classifier=ClassifierConfig(width=2, epochs=1, batch_size=8, learning_rate=1e-3),
    evaluation=EvaluationConfig(images=10, suite_size=10),
    steps=4,
    rows=5,
    discriminator_steps=1,
    noise_multiplier=5.0,
    epsilon_budget=10.0,
    samples_per_class=2,
)


def test_a_sound_configuration_passes():
    """The refusals below come from the value that each changes."""
    CONFIG.check()
    CONFIG.check_data(DATA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_multiplier": 0.0}, r"noise_multiplier=0\.0 must be above 0"),
        ({"noise_multiplier": -1.0}, r"noise_multiplier=-1\.0 must be above 0"),
        ({"delta": 0.0}, r"delta=0\.0 must lie between 0 and 1"),
        ({"delta": 1.0}, r"delta=1\.0 must lie between 0 and 1"),
        ({"epsilon_budget": 0.0}, r"epsilon_budget=0\.0 must be above 0"),
        ({"steps": 0}, "steps=0 must be above 0"),
        (
            {"evaluation": EvaluationConfig(images=10, suite_size=0)},
            "evaluation.suite_size=0 must be above 0",
        ),
        ({"clip_norm": 0.0}, r"clip_norm=0\.0 must be above 0"),
        ({"discriminator": replace(CONFIG.discriminator, chunk=0)}, "discriminator.chunk=0 must be above 0"),
        ({"discriminator": replace(CONFIG.discriminator, pool=0)}, "discriminator.pool=0 must be above 0"),
        (
            {"discriminator": replace(CONFIG.discriminator, kind="conv", label_scale=15.0)},
            r"label_scale=15\.0 needs kind=mlp, not conv; set 1",
        ),
        (
            {"generator": replace(CONFIG.generator, kind="resnet", upsample=2)},
            "upsample=2 needs kind=mlp, not resnet; set 1",
        ),
        ({"classifier": replace(CONFIG.classifier, decay_epoch=1)}, "decay_epoch=1 must lie between 0 and"),
        ({"impostors": 6}, "impostors=6 must lie between 0 and private.discriminator.batch_size=6"),
        ({"impostors": -1}, "impostors=-1 must lie between 0 and"),
        ({"final_rate": 0.0}, r"final_rate=0\.0 must be in \(0, 1\]"),
        ({"repulsion": RepulsionConfig(weight=-0.1)}, r"repulsion\.weight=-0\.1 must not be negative"),
        (
            {"repulsion": RepulsionConfig(weight=0.1, start=10, full=5)},
            r"repulsion\.start=10 must lie between 0 and full=5",
        ),
        ({"release": "one"}, "release=one is unknown; choose one of full, independent, shared"),
        ({"accountant": "prv"}, "accountant=prv has no theorem for private.release=full"),
        (
            {"release": "independent", "accountant": "gdp"},
            "accountant=gdp has no theorem for private.release=independent",
        ),
    ],
)
def test_impossible_values_are_refused(change, message):
    """Each would end in a false epsilon or a crash after hours."""
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **change).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"discriminators": 250}, "discriminators=250 does not cut data.train_size=1440.*240 and 288"),
        ({"delta": 0.001}, r"delta=0\.001 must be below 1/data\.train_size"),
        ({"discriminators": 720}, "batch_size=6 exceeds the 2 images"),
        ({"generator": replace(CONFIG.generator, kind="dcgan")}, "dcgan makes 28x28 images"),
        ({"discriminator": replace(CONFIG.discriminator, trained=7)}, "trained=7 must divide"),
        (
            {"discriminator": replace(CONFIG.discriminator, pool=3)},
            "pool=3 does not divide data.image_size=8",
        ),
        (
            {"method": "dp_sgd_gan", "dp_sgd_gan": DPSGDGANConfig(pool=3)},
            r"private\.dp_sgd_gan\.pool=3 does not divide data\.image_size=8",
        ),
        (
            {"generator": replace(CONFIG.generator, upsample=5)},
            "upsample=5 does not divide data.image_size=8",
        ),
    ],
)
def test_values_that_contradict_the_data_are_refused(change, message):
    """They depend on another group, so neither group can check them alone."""
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **change).check_data(DATA)
