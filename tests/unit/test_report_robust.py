"""Figures of the robust panel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from triptych.data.prepared import Split
from triptych.report.robust import (
    coloured_samples,
    corrected_and_broken,
    group_accuracies,
    group_grid,
    theory,
)
from triptych.robust.diagnostics import Groups

METRICS = {"accuracy_group_aligned_before": 0.9, "accuracy_group_conflicting_before": 0.6}


def sample(path: Path) -> None:
    labels = np.array([0, 0, 1])  # fewer images of class 1 than a row has room for
    split = Split(np.random.default_rng(0).integers(0, 256, (3, 2, 8, 8), np.uint8), labels)
    coloured_samples(split, split, path, each=2)


def examples(path: Path) -> None:
    labels = np.array([0, 0, 1])
    split = Split(np.random.default_rng(0).integers(0, 256, (3, 2, 8, 8), np.uint8), labels)
    corrected_and_broken(split, np.array([1, 0, 0]), np.array([0, 0, 0]), path, each=2)  # none is broken


def grid(path: Path) -> None:
    images = np.array([[20, 3], [10, 40]])  # one group is too small to be shown
    group_grid({"before": Groups(images, images // 2), "after": None}, path)


@pytest.mark.parametrize(
    "draw",
    [sample, theory, examples, grid, lambda path: group_accuracies(METRICS, {"_before": "before"}, path)],
)
def test_a_figure_drawn_twice_is_the_same_file(tmp_path: Path, draw: Callable[[Path], None]):
    """DVC compares outputs by content: a date inside would make every run a new result."""
    for name in ("one.png", "two.png"):
        draw(tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert len(first) > 5000  # something is drawn
