"""What each panel costs and gains: differences within a seed, and nothing from incomplete sweeps."""

from pathlib import Path

import pytest

from triptych.report.waterfall import draw, summarise


def jobs() -> list[dict]:
    """Two seeds of the full grid; accuracy falls by 0.1 with samples, rises by 0.2 with self-training."""
    return [
        {
            "source": source,
            "self_training": trained,
            "seed": seed,
            "subnet_accuracy": 0.6 - 0.1 * (source == "synthetic") + 0.2 * trained + 0.02 * seed,
            "post_training_accuracy": 0.56 - 0.1 * (source == "synthetic") + 0.2 * trained + 0.02 * seed,
            "int8_accuracy": 0.59 - 0.1 * (source == "synthetic") + 0.2 * trained + 0.02 * seed,
        }
        for source in ("synthetic", "real")
        for trained in (True, False)
        for seed in (0, 1)
    ]


def test_each_ablation_changes_one_thing_of_the_chain():
    """A table in which two things change at once explains nothing."""
    table = summarise(jobs())
    means = {name: row["target_accuracy"] for name, row in table.items()}
    chain = means.pop("chain")
    assert chain == pytest.approx(0.70)
    assert {name: round(value - chain, 3) for name, value in means.items()} == {
        "real_instead_of_synthetic": 0.1,
        "without_self_training": -0.2,
        "float_instead_of_int8": 0.01,
        "without_training_as_int8": -0.03,
    }
    assert table["chain"]["sd"] == pytest.approx(0.02 / 2**0.5)
    assert table["chain"]["seeds"] == 2


def test_picture_needs_every_step_at_one_seed(tmp_path: Path):
    """Differences are taken within a seed, so an interrupted sweep draws nothing."""
    draw(jobs(), tmp_path / "whole.png")
    assert (tmp_path / "whole.png").stat().st_size > 5000
    draw([job for job in jobs() if job["source"] == "synthetic"], tmp_path / "half.png")
    assert not (tmp_path / "half.png").exists()
