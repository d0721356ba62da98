"""The arithmetic of docs/scale.md is that of the code."""

from pathlib import Path

import pytest

from benchmarks.scale import FLOAT, configured, ensemble, lines

ROOT = Path(__file__).parents[2]


def test_page_shows_what_the_code_computes():
    """Numbers that are copied by hand grow old."""
    page = (ROOT / "docs/scale.md").read_text().splitlines()
    assert [line for line in lines() if line not in page] == []


def test_costs_of_a_published_discriminator_follow_from_its_layers():
    """By hand, at 28x28: 5x5 convolutions 1-64-128-256 with stride 2, a head and an embedding of 256x4x4."""
    config = configured("experiment=paper/gswgan_mnist")
    cost = ensemble(config)
    convolutions = 25 * (64 + 64 * 128 + 128 * 256) + 64 + 128 + 256
    features = 256 * 4 * 4
    assert cost.embedding == 10 * features
    assert cost.parameters == convolutions + features + 1 + cost.embedding
    assert cost.trained_bytes == 1000 * cost.parameters * 4 * FLOAT
    forward = 2 * config.private.rows * 25 * (14**2 * 64 + 7**2 * 64 * 128 + 4**2 * 128 * 256)
    assert cost.judging == pytest.approx(2 * forward, rel=0.02)  # the gradient of the input costs the same
    assert cost.learning > 9 * forward  # three passes with weight gradients, and the gradient of a gradient
