"""The end-to-end audit: planted faults are refuted by generators alone, the honest training is not."""

from dataclasses import replace

import pytest

from triptych.config.data import DataConfig
from triptych.config.private import DiscriminatorConfig, GeneratorConfig, PrivateConfig, WarmStartConfig
from triptych.privacy.sanitize import sanitize
from triptych.private import release
from triptych.private.membership import audit_membership

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:.*LeafSpec.*is deprecated",  # Lightning 2.6 beside torch 2.13
)

DATA = DataConfig("digits", image_size=8, train_size=24, test_size=1)
CONFIG = PrivateConfig(
    discriminators=3,
    generator=GeneratorConfig("mlp", width=8, learning_rate=1e-2, average=0.5),
    discriminator=DiscriminatorConfig("mlp", width=8, batch_size=8, learning_rate=1e-2),
    warm_start=WarmStartConfig(steps=30, width=8, learning_rate=1e-2),
    steps=1,
    rows=8,
    clip_norm=0.1,
    noise_multiplier=3.73,
    abstain=False,
)


def without_noise(grads, *, clip_norm, noise_multiplier, source):
    return sanitize(grads, clip_norm=clip_norm, noise_multiplier=noise_multiplier / 100, source=source)


def without_clip(grads, *, clip_norm, noise_multiplier, source):
    std = noise_multiplier * 2 * clip_norm
    return (grads.sum(1) + std * source.normal(grads.shape[0], grads.shape[2])).float()


def test_an_honest_training_is_not_refuted():
    """An alarm that always rings tells nothing."""
    found = audit_membership(CONFIG, DATA, trials=200)
    assert found.epsilon_claimed == pytest.approx(1, abs=0.01)
    assert found.kept


@pytest.mark.parametrize(
    "fault", [without_noise, pytest.param(without_clip, marks=pytest.mark.paper)], ids=["noise", "clip"]
)
def test_a_broken_door_is_refuted_from_the_generator(fault, monkeypatch):
    """Whoever sees the released generator alone tells which shard it was trained on."""
    monkeypatch.setattr(release, "sanitize", fault)
    config = replace(CONFIG, clip_norm=0.001) if fault is without_clip else CONFIG
    assert not audit_membership(config, DATA, trials=200).kept
