"""A certificate says what the ledger says, or is refused."""

from dataclasses import replace

import pytest

from triptych.data.files import write_json
from triptych.errors import PrivacyError
from triptych.privacy.accounting import epsilon
from triptych.privacy.certificate import Terms, issue, mechanism, read_certificate
from triptych.privacy.ledger import Ledger
from triptych.privacy.mechanism import FullEnsemble

TERMS = Terms(
    FullEnsemble(10.0, 5),
    discriminators=240,
    rows=64,
    delta=1e-5,
    accountant="gdp",
    clip_norm=1.0,
    sensitivity=16.0,
    rng="seeded",
)


@pytest.fixture
def files(tmp_path):
    ledger, generator = tmp_path / "ledger.jsonl", tmp_path / "generator.safetensors"
    generator.write_bytes(b"weights")
    with Ledger(ledger, mechanism(TERMS)) as open_ledger:
        for step in (0, 1, 2, 1, 2):
            open_ledger.record(step)
    return {"ledger": ledger, "generator": generator}


def test_epsilon_covers_the_steps_paid_not_the_steps_planned(files):
    """Two of five entries repeat lost steps: they cost as much as new ones."""
    certificate = issue(replace(TERMS, event=FullEnsemble(10.0, 3)), **files, steps_taken=3)
    assert certificate["steps"] == 5
    assert certificate["epsilon"] == epsilon(FullEnsemble(10.0, 5), 1e-5, accountant="gdp")
    assert certificate["epsilon_accountant"] == "gdp"
    assert certificate["rng"] == "seeded"


def test_a_bound_that_an_accountant_cannot_give_is_left_out(files, tmp_path):
    """So little noise is beyond the numerical bound: the exact one must still reach the file."""
    loud = replace(TERMS, event=FullEnsemble(0.05, 1))
    with Ledger(tmp_path / "loud.jsonl", mechanism(loud)) as ledger:
        ledger.record(0)
    certificate = issue(loud, ledger=tmp_path / "loud.jsonl", generator=files["generator"], steps_taken=1)
    write_json(tmp_path / "certificate.json", certificate)
    assert set(certificate["epsilon_by_accountant"]) == {"gdp", "rdp"}


def test_fewer_entries_than_steps_are_refused(files):
    """Someone restored an old ledger: epsilon would be understated."""
    with pytest.raises(PrivacyError, match="records 5 steps, the generator has taken 6"):
        issue(TERMS, **files, steps_taken=6)


def test_a_ledger_of_another_setting_is_refused(files):
    """The noise multiplier of the certificate must be the one that was used."""
    other = replace(TERMS, event=FullEnsemble(20.0, 5))
    with pytest.raises(PrivacyError, match="not the ledger of this configuration"):
        issue(other, **files, steps_taken=5)


def test_a_certificate_speaks_of_one_generator(files, tmp_path):
    """Samples of a swapped generator must not carry this epsilon."""
    write_json(tmp_path / "certificate.json", issue(TERMS, **files, steps_taken=5))
    assert read_certificate(tmp_path / "certificate.json", generator=files["generator"])["steps"] == 5
    files["generator"].write_bytes(b"other weights")
    with pytest.raises(PrivacyError, match="does not certify"):
        read_certificate(tmp_path / "certificate.json", generator=files["generator"])
