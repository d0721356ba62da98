"""What a person reads before deciding to train."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from triptych.config.private import PrivateConfig
from triptych.privacy.accounting import epsilon
from triptych.privacy.mechanism import FullEnsemble
from triptych.private.statement import privacy_statement
from triptych.report.statement import statement_table

ROOT = Path(__file__).parents[2]
CONFIG = PrivateConfig(
    discriminators=240, steps=400, rows=64, noise_multiplier=10.0, epsilon_budget=10.0, clip_norm=0.5
)


def test_the_published_setting_shows_both_numbers():
    """Whoever compares with the paper must see its claim beside what the theorem gives."""
    statement = privacy_statement(CONFIG)
    assert statement.as_published == pytest.approx(9.243, abs=6e-4)
    assert statement.shared_draw == pytest.approx(347, abs=1)


def test_calibration_reaches_its_target():
    """A recommended value that misses the target would be typed in and refused, or waste the budget."""
    statement = privacy_statement(CONFIG)
    event = statement.terms.event
    assert [row.target for row in statement.calibration] == [1.0, 10.0]
    for row in statement.calibration:
        by_noise = replace(event, noise_multiplier=row.noise_multiplier)
        assert 0.99 * row.target <= epsilon(by_noise, 1e-5, accountant="gdp") <= row.target
        assert epsilon(replace(event, steps=row.steps), 1e-5, accountant="gdp") <= row.target
        assert epsilon(replace(event, steps=row.steps + 1), 1e-5, accountant="gdp") > row.target


def test_steps_far_beyond_the_plan_are_said_to_be_at_least():
    """The exact number would take minutes of composition, and nobody plans a hundred times the work."""
    noisy = privacy_statement(replace(CONFIG, noise_multiplier=1000.0)).calibration[-1]
    assert (noisy.steps, noisy.more) == (40_000, True)
    assert epsilon(FullEnsemble(1000.0, 40_001), 1e-5, accountant="gdp") < noisy.target
    assert not privacy_statement(CONFIG).calibration[-1].more


def test_the_table_says_everything_and_whether_the_budget_holds():
    """The command is the one place where the whole promise can be read."""

    def text(config: PrivateConfig) -> str:
        console = Console(width=200, file=io.StringIO(), record=True)
        console.print(statement_table(privacy_statement(config)))
        return console.export_text()

    kept = text(CONFIG)
    for words in ("FullEnsemble", "replace-one", "arXiv:1905.02383", "9.997  (reported)", "(kept)"):
        assert words in kept
    assert all(f"epsilon by {name}" in kept for name in ("gdp", "pld", "rdp"))
    assert "exceeded" in text(replace(CONFIG, steps=401))


def test_the_command_needs_no_torch():
    """Answers in seconds, on a machine of a lawyer or a reviewer."""
    code = "import sys, pipelines.privacy_statement; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
