"""The published run's random draws, against PyTorch's and NumPy's global streams in the script's order."""

import numpy as np
import torch
from torch import nn

from triptych.data.published import PublishedDraw
from triptych.data.shift import ColourLaw
from triptych.robust.networks import Classifier

SOURCE, TRAIN, TEST = 60, 40, 20


def test_colours_and_first_weights_are_those_of_the_global_streams():
    """Seeds 42 and 0, then mask, colours of the source, of the target, and three layers."""
    labels = np.random.default_rng(3).integers(0, 10, SOURCE)
    with torch.random.fork_rng():
        torch.manual_seed(42)
        np.random.seed(0)  # noqa: NPY002  # the stream that is repeated
        mask = torch.Tensor(np.random.binomial(n=1, p=0.9, size=(SOURCE, 1)))  # noqa: NPY002
        toward = torch.from_numpy(labels).view(SOURCE, 1).float() / 10 + torch.rand(SOURCE, 1) / 10
        source = (toward * mask + torch.rand(SOURCE, 1) * (1 - mask))[:, 0].numpy()
        train, test = (torch.rand(size, 1, 1)[:, 0, 0].numpy() for size in (TRAIN, TEST))
        theirs = [nn.Linear(18, 7), nn.Linear(7, 5), nn.Linear(5, 10)]

    law = ColourLaw(10, 0.9, 0, PublishedDraw(SOURCE, TRAIN, TEST))
    np.testing.assert_array_equal(law.source("source_train", labels[:45]), source[:45])
    np.testing.assert_array_equal(law.source("source_test", labels[45:]), source[45:])
    np.testing.assert_array_equal(law.target("target_train", TRAIN), train)
    np.testing.assert_array_equal(law.target("target_test", TEST), test)

    network = Classifier((2, 3, 3), [7, 5], 10)
    assert law.published is not None
    law.published.initialise(network.linear(), 10, 0)
    images = torch.randint(0, 256, (4, 2, 3, 3), dtype=torch.uint8)
    x = images.permute(0, 2, 3, 1).flatten(1) / 255  # the script's layout
    for layer in theirs[:-1]:
        x = layer(x).relu()
    torch.testing.assert_close(network(images), theirs[-1](x))


def test_two_ways_reflect_the_normal_draw_to_the_side_of_the_label():
    """Their colours share one draw with the free ones, in the script's order."""
    labels = np.random.default_rng(3).integers(0, 2, SOURCE)
    law = ColourLaw(2, 1.0, 0, PublishedDraw(SOURCE, TRAIN, TEST))
    generator = torch.Generator().manual_seed(42)
    drawn = torch.empty(SOURCE, 1).normal_(0.5, 0.5 / 3, generator=generator)[:, 0].numpy()
    expected = (0.5 + np.abs(drawn - 0.5) * (2 * labels - 1)).clip(0, 1)
    np.testing.assert_allclose(law.source("source_train", labels), expected, rtol=1e-6)


def test_another_seed_is_another_draw():
    """The spread over seeds is that of the published method, not of one run."""
    law, other = (ColourLaw(10, 0.9, seed, PublishedDraw(SOURCE, TRAIN, TEST)) for seed in (0, 1))
    assert not np.array_equal(law.target("target_test", TEST), other.target("target_test", TEST))
    assert np.array_equal(law.target("target_test", TEST, repetition=1), other.target("target_test", TEST))
