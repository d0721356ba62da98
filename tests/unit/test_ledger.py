"""The ledger survives kills and finds tampering; it may overstate, never understate."""

import json
import os
import signal
import subprocess
import sys

import pytest

from triptych.errors import DataError, PrivacyError
from triptych.privacy.ledger import Ledger, read_ledger

MECHANISM = {"mechanism": "FullEnsemble", "noise_multiplier": 10.0}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "ledger.jsonl"
    with Ledger(file, MECHANISM) as ledger:
        for step in range(3):
            ledger.record(step)
    return file


def test_an_entry_is_on_the_disk_before_record_returns(tmp_path):
    """The release is used afterwards: a kill in between must find it paid."""
    ledger = Ledger(tmp_path / "ledger.jsonl", MECHANISM)
    ledger.record(0)
    assert len(read_ledger(tmp_path / "ledger.jsonl")) == 2
    ledger.close()


def test_a_killed_process_leaves_every_step_it_paid_for(tmp_path):
    """Kill -9 gives no chance to flush."""
    path = tmp_path / "ledger.jsonl"
    code = (
        "import os, signal, pathlib, sys\n"
        "from triptych.privacy.ledger import Ledger\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1]), eval(sys.argv[2]))\n"
        "for step in range(5): ledger.record(step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), repr(MECHANISM)], check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    with Ledger(path, MECHANISM) as ledger:
        assert ledger.steps == 5


def test_steps_repeated_after_a_kill_are_paid_again(path):
    """Fresh noise on the same gradient is a second release."""
    with Ledger(path, MECHANISM) as ledger:
        ledger.record(1)
        ledger.record(2)
    assert [entry.get("step") for entry in read_ledger(path)] == [None, 0, 1, 2, 1, 2]


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_a_torn_last_line_is_counted_as_paid(path, keep):
    """A kill during the write leaves part of a line; the step may not vanish."""
    content = path.read_bytes()
    last = content.splitlines(keepends=True)[-1]
    path.write_bytes(content[: -len(last)] + last[:keep])
    with Ledger(path, MECHANISM) as ledger:
        assert ledger.steps == 3
        ledger.record(3)
    assert len(read_ledger(path)) == 5
    assert read_ledger(path)[-2]["torn"]


def test_a_torn_header_starts_anew(tmp_path):
    """Nothing was released before the header was whole."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"mechanism": {"mech')
    with Ledger(path, MECHANISM) as ledger:
        assert ledger.steps == 0
    assert len(read_ledger(path)) == 1


def _edit(lines):
    entry = json.loads(lines[2])
    lines[2] = json.dumps({**entry, "step": 7}).encode() + b"\n"
    return lines


@pytest.mark.parametrize(
    "tamper",
    [
        _edit,
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[2], lines[1], lines[3]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:-1], b"{}\n"],
        lambda lines: [*lines[:-1], b"\x00\x00\n"],
        lambda lines: lines[1:],
    ],
    ids=["edited", "missing", "swapped", "doubled", "emptied", "zeroed", "beheaded"],
)
def test_a_damaged_ledger_is_refused(path, tamper):
    """A certificate computed from it would be a lie."""
    path.write_bytes(b"".join(tamper(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(PrivacyError, match="does not continue the chain"):
        Ledger(path, MECHANISM)


def test_another_mechanism_may_not_continue_a_ledger(path):
    """Steps with less noise would be accounted as steps with more."""
    with pytest.raises(PrivacyError, match="noise_multiplier"):
        Ledger(path, {**MECHANISM, "noise_multiplier": 5.0})


def test_a_missing_ledger_is_named(tmp_path):
    """The user learns which file to restore."""
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        read_ledger(tmp_path / "gone.jsonl")
