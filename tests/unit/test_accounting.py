"""The edges of accounting: nothing released, nothing allowed, no theorem."""

import math
import subprocess
import sys

import pytest

from triptych.errors import ConfigError
from triptych.privacy.accounting import epsilon, steps_for
from triptych.privacy.mechanism import FullEnsemble, IndependentDraws, describe


def test_nothing_released_costs_nothing():
    """A run that stops before its first step still gets a certificate."""
    assert epsilon(FullEnsemble(1.0, 0), 1e-5, accountant="gdp") == 0.0


def test_an_accountant_without_a_theorem_is_refused():
    """The exact Gaussian profile says nothing about secret draws."""
    with pytest.raises(ConfigError, match=r"accountant=gdp does not apply to IndependentDraws; choose.*pld"):
        epsilon(IndependentDraws(1.0, 1, 10, 1), 1e-5, accountant="gdp")


def test_no_step_fits_a_tiny_budget():
    """The error text says steps=0 instead of looping for ever."""
    assert steps_for(FullEnsemble(0.5, 10), 0.01, 1e-5, accountant="gdp", at_most=1000) == 0


def test_hopeless_noise_is_infinite_not_out_of_memory():
    """A user who types 0.01 gets an answer at once."""
    assert epsilon(FullEnsemble(0.01, 1), 1e-5, accountant="pld") == math.inf


def test_an_event_describes_itself_completely():
    """The certificate and the ledger's header are made of this."""
    said = describe(IndependentDraws(1.07, 5, 100, 32))
    assert said["mechanism"] == "IndependentDraws"
    assert said["adjacency"] == "replace-one record"
    assert (said["noise_multiplier"], said["steps"], said["discriminators"], said["rows"]) == (
        1.07,
        5,
        100,
        32,
    )


def test_accounting_works_without_torch():
    """Auditors and the config check import it alone."""
    code = "import sys, triptych.privacy.accounting; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
