"""DP-MERF: one release whose sensitivity is proved, and a generator that sees nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triptych.config.private import PrivateConfig
from triptych.config.rivals import DPMERFConfig
from triptych.errors import ConfigError
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import SeededSource
from triptych.private.budget import affordable_steps, calibrated, terms
from triptych.private.rivals.dp_merf import mean_distance
from triptych.private.rivals.embedding import (
    SENSITIVITY,
    Embedding,
    FourierFeatures,
    class_sums,
    pay_once,
    release_means,
)

SETTINGS = DPMERFConfig(features=10, length_scale=0.3, steps=3, batch_size=4, learning_rate=1e-2)
CONFIG = PrivateConfig(method="dp_merf", dp_merf=SETTINGS, epsilon_budget=10.0)


class Silence:
    """A source without noise."""

    name = "silence"

    def normal(self, *shape):
        return torch.zeros(*shape, dtype=torch.float64)

    def draws(self, count, choices):
        return torch.zeros(count, dtype=torch.int64)


def moved(embed, before, after, labels, new_labels):
    """How far the released sums move from one data set to another."""
    silent = {"classes": 3, "noise_multiplier": 1.0, "source": Silence()}
    first = release_means(embed, before, labels, **silent)
    second = release_means(embed, after, new_labels, **silent)
    return (first - second).double().norm() * len(labels)


@given(
    seed=st.integers(0, 1000),
    scale=st.floats(0, 1e6),
    label=st.integers(0, 2),
    honest=st.booleans(),
    broken=st.booleans(),
)
def test_replacing_one_record_moves_the_embedding_by_at_most_its_sensitivity(
    seed, scale, label, honest, broken
):
    """The premise of the theorem, whatever the record is and whatever embeds it."""
    torch.manual_seed(seed)
    features = FourierFeatures(4, 10, 0.3)
    before, labels = torch.rand(7, 4), torch.arange(7) % 3
    after, new_labels = before.clone(), labels.clone()
    after[seed % 7] = torch.randn(4) * scale
    if broken:
        after[seed % 7, 0] = torch.nan
    new_labels[seed % 7] = label
    embed = features if honest else (lambda x: 100 * x)
    assert moved(embed, before, after, labels, new_labels) <= SENSITIVITY * (1 + 1e-5)


def test_the_sensitivity_is_attained():
    """Two opposite vectors of one class: a smaller claim would be false."""
    before = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    after = torch.tensor([[-1.0, 0.0], [0.5, 0.0]])
    labels = torch.tensor([1, 1])
    assert float(moved(lambda x: x, before, after, labels, labels)) == pytest.approx(2.0)


def test_the_distance_is_the_maximum_mean_discrepancy_of_the_gaussian_kernel():
    """Against the double sums over the kernel itself, without features."""
    torch.manual_seed(0)
    x, y = torch.rand(30, 5), torch.rand(20, 5) + 0.3
    a, b = torch.arange(30) % 2, torch.arange(20) % 2
    scale = 0.4
    features = FourierFeatures(5, 40_000, scale)
    means = class_sums(features(x), a, 2) / 30

    def kernel(p, q, i, j):
        near = (-torch.cdist(p, q).square() / (2 * 5 * scale**2)).exp()
        return (near * (i[:, None] == j)).mean()

    exact = kernel(x, x, a, a) + kernel(y, y, b, b) - 2 * kernel(x, y, a, b)
    assert float(mean_distance(means, features(y), b)) == pytest.approx(float(exact), abs=3e-3)
    assert float(exact) > 0.03


def test_the_released_noise_has_the_certified_size():
    """Noise on sums has standard deviation noise_multiplier * 2; on means, over the number of records."""
    torch.manual_seed(0)
    released = release_means(
        lambda x: torch.zeros(len(x), 5000),
        torch.zeros(50, 1),
        torch.zeros(50, dtype=torch.int64),
        classes=4,
        noise_multiplier=0.5,
        source=SeededSource(),
    )
    assert float(released.std()) * 50 == pytest.approx(1.0, rel=0.02)


def test_a_continued_attempt_uses_the_release_that_was_paid_for(tmp_path):
    """A second noisy embedding of the same data would cost epsilon again."""
    made = []

    def release():
        made.append(torch.randn(3, 10))
        return made[-1]

    def attempt(path):
        embedding = Embedding(FourierFeatures(4, 10, 0.3), 3)
        with Ledger(path / "ledger.jsonl", mechanism(terms(calibrated(CONFIG)))) as ledger:
            pay_once(path / "embedding.safetensors", ledger, embedding, release)
            return embedding, ledger.steps

    first, paid = attempt(tmp_path)
    (tmp_path / "ledger.jsonl").unlink()  # killed after the file was written, before it was paid for
    second, paid_again = attempt(tmp_path)
    assert len(made) == paid == paid_again == 1
    assert torch.equal(first.means, second.means)
    assert torch.equal(first.features.frequencies, second.features.frequencies)


@pytest.mark.parametrize(("budget", "noise"), [(10.0, 0.49990), (1.0, 3.7300)])
def test_a_noise_multiplier_of_null_is_what_the_budget_pays_for(budget, noise):
    """1 / mu of the Gaussian mechanism: mu = 2.0004 for epsilon 10, 0.2681 for epsilon 1."""
    config = calibrated(replace(CONFIG, epsilon_budget=budget))
    assert config.dp_merf.noise_multiplier == pytest.approx(noise, rel=2e-3)
    assert affordable_steps(config) == 1
    gswgan = replace(CONFIG, method="gswgan", steps=400, rows=5, discriminators=6, epsilon_budget=budget)
    assert calibrated(gswgan).noise_multiplier == pytest.approx(20 * noise, rel=2e-3)


def test_too_little_noise_is_refused_by_the_name_of_its_key():
    """The message must point at the rival's own value, not at that of GS-WGAN."""
    config = replace(CONFIG, dp_merf=replace(SETTINGS, noise_multiplier=0.1))
    with pytest.raises(ConfigError, match=r"private\.dp_merf\.noise_multiplier=0\.1 .*noise_multiplier=0\.5"):
        affordable_steps(config)


def test_impossible_values_are_refused():
    """Half a frequency cannot be drawn, and no noise is no privacy."""
    with pytest.raises(ConfigError, match=r"private\.dp_merf\.features=9 must be even"):
        replace(SETTINGS, features=9).check()
    with pytest.raises(
        ConfigError, match=r"private\.dp_merf\.noise_multiplier=0\.0 must be above 0, or null"
    ):
        replace(SETTINGS, noise_multiplier=0.0).check()
    with pytest.raises(ConfigError, match=r"private\.method=dp_gan is unknown"):
        replace(CONFIG, method="dp_gan").check()


def test_vectors_have_norm_one():
    """Otherwise the clip would bend the embedding of every record."""
    torch.manual_seed(0)
    vectors = FourierFeatures(6, 20, 1.0)(torch.rand(9, 6))
    assert np.allclose(vectors.norm(dim=1), 1, atol=1e-6)
