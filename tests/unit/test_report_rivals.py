"""What stands in one row, and what one line joins: runs that differ in the seed, or in one cause, alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from matplotlib.image import imread

from triptych.config import load
from triptych.privacy.accounting import epsilon
from triptych.private.budget import chosen_noise, terms
from triptych.report.rivals import COLUMNS, REAL, Run, _settings, markdown
from triptych.report.tradeoff import CAUSES, draw, lines

ROOT = Path(__file__).parents[2]
ITERATIONS, NOISE, EPSILON = CAUSES


def run(method: str, steps: int, noise: float, *, seed: int = 0, cnn: float = 0.5, rows: int = 8) -> Run:
    """A run whose scores are made up; GS-WGAN's own settings are there, whatever the method."""
    own = {"steps": steps, "noise_multiplier": None}
    config = {
        **{"seed": seed, "private.method": method, "private.epsilon_budget": 10.0, "private.rows": rows},
        **{"private.steps": 7, "private.noise_multiplier": 3.0},
        **{"private.gpate": own, "private.dp_merf": {"steps": 99 * seed}},
    }
    if method == "gswgan":
        config |= {f"private.{key}": value for key, value in own.items()}
    scores = {**dict.fromkeys([*COLUMNS, *REAL.values()], 0.5), "downstream_cnn_accuracy": cnn}
    metrics = {**scores, "noise_multiplier": noise, "epsilon": steps / noise}
    return Run(Path(), "digits", method, 10.0, seed, metrics, _settings(config))


def test_a_line_joins_runs_that_differ_in_its_cause_alone():
    """A zigzag through runs of several settings shows no cause at all."""
    runs = [
        run("gswgan", 50, 10),
        run("gswgan", 100, 10),
        run("gswgan", 100, 20),
        run("gswgan", 100, 40, rows=16),  # alone: other rows
        run("gpate", 100, 10),
        run("gpate", 200, 10),
    ]

    def found(cause):
        return {
            line.label: [value for value, _ in line.points(cause, lambda run: 0.0)]
            for line in lines(runs, cause)
        }

    assert found(ITERATIONS) == {"gswgan, noise 10": [50, 100], "gpate, noise 10": [100, 200]}
    assert found(NOISE) == {"gswgan, iterations 100": [10, 20]}
    assert found(EPSILON) == {"gswgan, iterations 100": [5, 10]}


def test_seeds_are_averaged_and_never_make_a_line():
    """Two seeds at one setting are a spread, not a trend."""
    seeds = [run("gswgan", 50, 10, seed=seed, cnn=cnn) for seed, cnn in ((0, 0.25), (1, 0.75))]
    assert lines(seeds, ITERATIONS) == []
    (line,) = lines([*seeds, run("gswgan", 100, 10, cnn=0.9)], ITERATIONS)
    assert line.points(ITERATIONS, lambda run: run.metrics["downstream_cnn_accuracy"]) == [
        (50, 0.5),
        (100, 0.9),
    ]


def test_a_row_of_the_table_holds_seeds_of_one_setting():
    """A mean over different noise is the score of nothing."""
    runs = [run("gpate", 100, 10), run("gpate", 100, 10, seed=1), run("gpate", 100, 20)]
    text = markdown(runs)
    assert "| gpate | 10 | 0, 1 | 100 | 10 |" in text
    assert "| gpate | 10 | 0 | 100 | 20 |" in text


def test_the_picture_shows_what_varied(tmp_path: Path):
    """Guards the whole drawing, with a panel that has nothing to show."""
    runs = [run("gswgan", 50, 10), run("gswgan", 100, 10, cnn=0.9)]
    draw(runs, tmp_path / "two.png")
    draw(
        [replace(one, metrics={**one.metrics, "noise_multiplier": 10 * (one.steps / 50)}) for one in runs],
        tmp_path / "none.png",
    )
    two, none = (imread(tmp_path / name) for name in ("two.png", "none.png"))
    blue = np.array([0x1F, 0x77, 0xB4]) / 255  # matplotlib's first colour

    def coloured(image: np.ndarray) -> bool:
        return bool((np.abs(image[..., :3] - blue).max(axis=-1) < 0.02).any())

    assert coloured(two[:, : two.shape[1] * 3 // 8])
    assert not coloured(two[:, two.shape[1] * 3 // 8 :])
    assert not coloured(none)


SWEEP = yaml.safe_load((ROOT / "conf/sweep/private_curves.yaml").read_text())
POINTS = [
    f"{{{point.strip(' ,{}')}}}"
    for point in SWEEP["hydra"]["sweeper"]["params"]["sweep.point"].split("}")
    if point
]


@pytest.mark.parametrize("point", POINTS)
def test_a_point_of_the_sweep_costs_every_method_the_same(point: str):
    """The noise of DP-MERF's one release is written by hand beside that of the others."""
    configs = {}
    for method in SWEEP["hydra"]["sweeper"]["params"]["private.method"].split(","):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            values = compose(
                "config", ["+sweep=private_curves", f"private.method={method}", f"sweep.point={point}"]
            )
        configs[method] = load(values).private
    steps, noise = configs["gswgan"].steps, configs["gswgan"].noise_multiplier
    assert {method: chosen_noise(config) for method, config in configs.items()} == {
        "gswgan": noise,
        "gpate": noise,
        "dp_merf": pytest.approx(noise / 20),
    }
    assert (configs["gpate"].gpate.steps, configs["dp_merf"].dp_merf.steps) == (steps, steps)
    costs = [
        epsilon(terms(config).event, config.delta, accountant="gdp")
        for method, config in configs.items()
        if method != "dp_merf" or steps == 400
    ]
    assert costs == pytest.approx([costs[0]] * len(costs))
    assert costs[0] < configs["gswgan"].epsilon_budget
