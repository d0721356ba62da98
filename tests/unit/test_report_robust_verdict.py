"""The validation of the verdict: what it says of outcomes that are counted by hand."""

from pathlib import Path

import pytest

from triptych.config.robust import TrustConfig
from triptych.data.files import write_json
from triptych.report.robust_verdict import areas, best_limits, draw, markdown, read_outcomes

LIMITS = TrustConfig(accuracy=0.5, shrinking_share=0.5)


def outcome(decency: float, share: float, gain: float, p: float = 0.9) -> dict[str, float | str]:
    return {
        "setting": "some",
        "p": p,
        "seed": 0,
        "estimated_accuracy": 0.9,
        "estimated_by_confidence": 0.9,
        "confidence_drop": 0.0,
        "class_share_distance": 0.1,
        "recoloured_accuracy": decency,
        "shrinking_share": share,
        "target_accuracy_before": 0.5,
        "target_accuracy": 0.5 + gain,
    }


OUTCOMES = [
    outcome(0.8, 0.7, 0.1),  # trusted, and helps
    outcome(0.7, 0.6, -0.1, p=0.95),  # trusted, and hurts
    outcome(0.7, 0.4, -0.1, p=0.95),  # doubted, and hurts
    outcome(0.4, 0.7, 0.2, p=0.95),  # doubted, and helps
]


def test_the_table_counts_verdicts_against_outcomes_by_p():
    """By hand, as annotated."""
    lines = markdown(OUTCOMES, LIMITS).splitlines()
    assert "| 0.9 | 50.0 | 60.0 | 1 | 0 | 0 | 0 | 1 of 1 |" in lines
    assert "| 0.95 | 50.0 | 50.0 | 0 | 1 | 1 | 1 | 1 of 3 |" in lines
    assert "| all | 50.0 | 52.5 | 1 | 1 | 1 | 1 | 2 of 4 |" in lines


def test_best_limits_separate_what_can_be_separated():
    """By hand: only shares from 0.61 to 0.70 tell both helps from both harms, with no limit on accuracy."""
    best = best_limits(OUTCOMES)
    assert 0.6 < best.shrinking_share <= 0.7
    assert best.accuracy <= 0.4
    assert "4 of 4" in markdown(OUTCOMES, best)


def test_area_is_that_of_pairs_in_the_right_order():
    """The definition: of the four pairs of a help and a harm, those that the criterion orders rightly."""
    found = areas(OUTCOMES)
    assert found["recoloured_accuracy"] == pytest.approx(2 / 4)
    assert found["shrinking_share"] == 1
    assert found["estimated_accuracy"] == 0.5
    assert areas(OUTCOMES[:1]) == {}


def test_outcomes_are_read_from_finished_jobs_alone(tmp_path: Path):
    """A job that was killed leaves a folder `chain`, whose diagnosis is not a result."""
    for folder in ("a/0", "b/0/chain/out/robust/diagnose"):
        (tmp_path / folder).mkdir(parents=True)
        write_json(tmp_path / folder / "outcomes.json", [{"shrinking_share": 0.5}])
        write_json(tmp_path / folder / "metrics.json", {"setting": "a", "p": 0.9, "seed": 3, "trust": 1.0})
    assert read_outcomes(tmp_path) == [{"setting": "a", "p": 0.9, "seed": 3, "shrinking_share": 0.5}]
    draw(OUTCOMES, LIMITS, tmp_path / "verdicts.png")
    assert (tmp_path / "verdicts.png").stat().st_size > 5000
