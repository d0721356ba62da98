"""Networks against the paper's sizes, and stacked layers against torch's own, one at a time."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from triptych.config.data import DataConfig
from triptych.config.private import DiscriminatorConfig, GeneratorConfig
from triptych.private.ensemble import MLPEnsemble, build_ensemble, pooled
from triptych.private.generators import Generator
from triptych.private.losses import discriminator_loss, gradient_penalty
from triptych.private.stacked import StackedConv2d, StackedLinear, spectral_norm

MNIST = DataConfig("mnist", image_size=28, train_size=60000, test_size=10000)
DIGITS = DataConfig("digits", image_size=8, train_size=1440, test_size=357)


def generator_config(kind, width):
    return GeneratorConfig(kind=kind, width=width, learning_rate=1e-4, average=0.999)


def discriminator_config(kind, width):
    return DiscriminatorConfig(kind=kind, width=width, batch_size=2, learning_rate=1e-4)


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("kind", "expected"), [("resnet", 3_826_177), ("dcgan", 1_114_305)])
def test_generators_have_the_released_size(kind, expected):
    """3.83 M and 1.11 M in the released code: a missing layer would show."""
    generator = Generator(generator_config(kind, 64), MNIST)
    assert size(generator) == expected


def test_the_discriminator_has_the_released_size():
    """1.07 M in the released code, for each of the members."""
    one = build_ensemble(1, discriminator_config("conv", 64), MNIST)
    assert size(one) == 1_071_105
    assert size(build_ensemble(2, discriminator_config("conv", 64), MNIST)) == 2 * 1_071_105


@pytest.mark.parametrize(
    ("kind", "data"),
    [("mlp", DIGITS), ("mlp", MNIST), ("resnet", DIGITS), ("resnet", MNIST), ("dcgan", MNIST)],
)
def test_generated_images_have_the_data_shape_and_range(kind, data):
    """Images leave as bytes: a value outside [0, 1] would wrap around."""
    torch.manual_seed(0)
    generator = Generator(generator_config(kind, 4), data)
    images = generator(generator.draw_latent(3), torch.tensor([0, 4, 9]))
    assert images.shape == (3, 1, data.image_size, data.image_size)
    assert images.min() >= 0
    assert images.max() <= 1


def test_the_resnet_is_spectral_normalised_throughout():
    """As released; the unnormalised network trains differently."""
    generator = Generator(generator_config("resnet", 2), MNIST)
    layers = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 11
    assert all(is_parametrized(layer, "weight") for layer in layers)


def test_an_enlarged_image_is_the_drawn_one_interpolated():
    """torch.nn.functional.interpolate is the witness, edges included."""
    torch.manual_seed(0)
    generator = Generator(replace(generator_config("mlp", 4), upsample=2), MNIST)
    assert size(generator) == 20 * 4 + 4 + 4 * 4 + 4 + 4 * 196 + 196
    generator.body = nn.Sequential(nn.Linear(20, 196))
    codes, labels = generator.draw_latent(3), torch.tensor([0, 4, 9])
    drawn = generator.body(torch.cat([codes, F.one_hot(labels, 10)], dim=1)).sigmoid().reshape(3, 1, 14, 14)
    enlarged = F.interpolate(drawn, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(generator(codes, labels), enlarged)


def test_discriminators_see_means_of_neighbouring_pixels():
    """Whatever axes lead; a window over other axes would mix images, and with them shards."""
    images = torch.arange(2 * 3 * 1 * 4 * 6, dtype=torch.float32).reshape(2, 3, 1, 4, 6)
    means = images.reshape(2, 3, 1, 2, 2, 3, 2).mean((4, 6))
    assert torch.equal(pooled(images, 2), means)
    assert torch.equal(pooled(images[0], 2), means[0])
    assert pooled(images, 1) is images


def test_the_label_scale_is_that_of_the_weights_on_the_label():
    """A plain discriminator with larger weights on labels has the same scores and slopes on pixels."""
    torch.manual_seed(0)
    config = discriminator_config("mlp", 8)
    plain, scaled = (build_ensemble(3, c, DIGITS) for c in (config, replace(config, label_scale=15.0)))
    scaled.load_state_dict(plain.state_dict())
    assert isinstance(plain, MLPEnsemble)
    first = plain.layers[0]
    assert isinstance(first, StackedLinear)
    with torch.no_grad():
        first.weight[:, 64:] *= 15
    images, labels = torch.rand(3, 2, 1, 8, 8, requires_grad=True), torch.arange(6).reshape(3, 2)
    slopes = []
    for ensemble in (plain, scaled):
        scores = ensemble(images, labels)
        slopes.append((scores, *torch.autograd.grad(scores.sum(), images)))
    torch.testing.assert_close(slopes[0], slopes[1])
    unlabelled = torch.autograd.grad(scaled(images, labels.flip(0)).sum(), images)[0]
    assert not torch.allclose(unlabelled, slopes[1][1])


def test_stacked_linear_is_one_linear_a_member():
    """torch.nn.functional.linear is the witness."""
    torch.manual_seed(0)
    layer = StackedLinear(3, 5, 4)
    assert layer.bias is not None
    nn.init.normal_(layer.bias)
    x = torch.randn(3, 2, 5)
    y = layer(x)
    for j in range(3):
        assert torch.allclose(y[j], F.linear(x[j], layer.weight[j].T, layer.bias[j, 0]), atol=1e-6)


def test_stacked_convolution_is_one_convolution_a_member():
    """A mixed-up group would train one discriminator on another's shard."""
    torch.manual_seed(0)
    layer = StackedConv2d(3, 2, 4, kernel_size=5, stride=2)
    nn.init.normal_(layer.bias)
    x = torch.randn(3, 6, 2, 9, 9)
    y = layer(x)
    for j in range(3):
        alone = F.conv2d(x[j], layer.weight[j], layer.bias[j], stride=2, padding=2)
        assert torch.allclose(y[j], alone, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [StackedConv2d(3, 2, 4, kernel_size=5, stride=1), StackedLinear(3, 6, 4)], ids=["conv", "linear"]
)
def test_stacked_spectral_norm_reaches_singular_value_one(layer):
    """Checked by a full singular value decomposition of every member."""
    torch.manual_seed(0)
    spectral_norm(layer)
    for _ in range(100):
        layer.weight  # noqa: B018  # each access is one power iteration
    values = torch.linalg.svdvals(layer.weight.detach().flatten(2))
    assert torch.allclose(values[:, 0], torch.ones(3), atol=1e-3)


def test_the_paper_discriminator_matches_a_plain_network():
    """Convolutions, projection and normalisation, rebuilt with torch.nn for one member."""
    torch.manual_seed(0)
    ensemble: Any = build_ensemble(2, discriminator_config("conv", 3), MNIST).eval()
    images, labels = torch.rand(2, 4, 1, 28, 28), torch.randint(10, (2, 4))
    scores = ensemble(images, labels)
    for j in range(2):
        x = images[j]
        for layer in ensemble.convolutions:
            x = F.relu(F.conv2d(x, layer.weight[j], layer.bias[j], stride=2, padding=2))
        features = x.flatten(1)
        head = F.linear(features, ensemble.head.weight[j].T, ensemble.head.bias[j, 0]).squeeze(1)
        projection = (F.embedding(labels[j], ensemble.embedding.weight[j]) * features).sum(1)
        assert torch.allclose(scores[j], head + projection, atol=1e-5)


def test_the_gradient_penalty_vanishes_at_unit_slope():
    """A discriminator x -> x / sqrt(pixels) summed over pixels has slope 1 everywhere, 3 times it slope 3."""

    class Slope(MLPEnsemble):
        def __init__(self):
            nn.Module.__init__(self)

        def forward(self, images, labels):
            return torch.tensor([1.0, 3.0])[:, None] * images.flatten(2).sum(2) / 8

    real, fake = torch.rand(2, 5, 1, 8, 8), torch.rand(2, 5, 1, 8, 8)
    labels, mix = torch.zeros(2, 5, dtype=torch.int64), torch.rand(2, 5)
    penalty = gradient_penalty(Slope(), real, fake, labels, mix)
    assert torch.allclose(penalty, torch.tensor([0.0, 4.0]), atol=1e-4)
    settings = replace(discriminator_config("mlp", 4), drift=0.0)
    loss, distance = discriminator_loss(Slope(), real, fake, labels, mix=mix, settings=settings)
    mean = (real.flatten(2).sum(2) - fake.flatten(2).sum(2)).mean(1) / 8
    assert torch.allclose(distance, torch.tensor([1.0, 3.0]) * mean, atol=1e-5)
    assert torch.allclose(loss, torch.tensor([0.0, 40.0]) - distance, atol=1e-3)
