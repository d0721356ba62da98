"""The table of self-training: what it says of jobs that are counted by hand."""

import json
from pathlib import Path

import pytest

from triptych.data.files import write_json
from triptych.report.robust_table import choose, draw, markdown, read_jobs, rows, spread


def job(setting: str, seed: int, before: float, after: float, trust: float) -> dict[str, object]:
    return {
        "setting": setting,
        "overrides": ["robust.source.reweight=5"] if setting == "robust/usps" else [],
        "objectives": ["entropy"],
        "seed": seed,
        "target_accuracy_before": before,
        "target_accuracy_entropy": after,
        "selection_score_entropy": before,
        "trust": trust,
        "cpu_seconds": 10 + seed,
    }


JOBS = [
    job("paper/cmnist", 1, 0.8, 0.7, 1.0),  # worse though trusted
    job("paper/cmnist", 0, 0.82, 0.91, 1.0),
    job("robust/usps", 0, 0.6, 0.8, 0.0),  # better though not trusted
]


def test_a_row_counts_seeds_gains_and_right_verdicts():
    """By hand; the published draw is seed 0, wherever its folder sorts."""
    paper, usps = (line for line in markdown(JOBS).splitlines() if "/" in line)
    assert paper == (
        "| paper/cmnist entropy | 2 | 81.0 ± 1.4 | 80.5 ± 14.8 | 81.0 ± 1.4 "
        "| 1 of 2 | 1 of 2 | 82.0 → 91.0 | 82 → 91 | 10 |"
    )
    assert usps == (
        "| robust/usps reweight=5 entropy | 1 | 60.0 | 80.0 | 60.0 | 1 of 1 | 0 of 1 | 60.0 → 80.0 |  | 10 |"
    )
    assert rows(JOBS)[0].seeds == [0, 1]


def test_spread_is_the_sample_deviation():
    """As in all tables of results; one value has none."""
    assert spread([1.0, 3.0]) == "2.0 ± 1.4"
    assert spread([1.0]) == "1.0"


def test_jobs_are_found_in_the_folder_and_other_metrics_left_alone(tmp_path: Path):
    """Prepared data in the same folder has a metrics file too."""
    for index, content in enumerate([*JOBS, {"train_size": 5}]):
        (tmp_path / f"a/{index}").mkdir(parents=True)
        (tmp_path / f"a/{index}/metrics.json").write_text(json.dumps(content))
    assert read_jobs(tmp_path) == JOBS
    draw(JOBS, tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 5000


def test_jobs_of_another_version_are_left_out_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The report must not end in a KeyError because of a sweep that ran months ago."""
    old = {key: value for key, value in JOBS[1].items() if key != "selection_score_entropy"}
    write_json(tmp_path / "old/metrics.json", old)
    write_json(tmp_path / "new/metrics.json", JOBS[0])
    assert read_jobs(tmp_path) == [JOBS[0]]
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path}/old/metrics.json is left out")
    assert "selection_score_entropy" in said


def test_choice_is_by_the_mean_score_and_blind_to_the_accuracy():
    """Hyper-parameters are chosen without target labels: other labels, other accuracies, the same choice."""
    several = {**job("robust/cmnist97", 0, 0.5, 0.9, 1.0), "objectives": ["entropy", "adamatch"]}
    several |= {"selection_score_adamatch": 0.83, "target_accuracy_adamatch": 0.1}
    jobs = [*JOBS, several]
    assert choose(jobs) == ("robust/cmnist97", (), "adamatch")
    assert choose(JOBS) == ("paper/cmnist", (), "entropy")
    permuted = [{k: 1 - v if k.startswith("target_") else v for k, v in each.items()} for each in jobs]
    assert choose(permuted) == choose(jobs)
    assert rows(permuted)[0].after != rows(jobs)[0].after
