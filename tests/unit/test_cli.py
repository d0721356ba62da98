"""The command `triptych`: examples in every help, one line for every error, nothing trained."""

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from triptych.cli.app import app, run
from triptych.cli.doctor import EXTRAS, examine
from triptych.data.files import read_json, write_json
from triptych.errors import DataError
from triptych.tracking import mlflow as tracking
from triptych.tracking.chain import Step, links, seal

ROOT = Path(__file__).parents[2]
COMMANDS = ["doctor", "data", "privacy", "engine", "runs"]
SIGNING = ["verify", "sign", "key"]


@pytest.mark.parametrize(
    "words", [*([name] for name in COMMANDS), *(["certificate", name] for name in SIGNING)]
)
def test_every_help_shows_an_example(words: list[str], capsys: pytest.CaptureFixture):
    """People copy a line that works."""
    assert run([*words, "--help"]) == 0
    assert "xample" in capsys.readouterr().out


def test_commands_are_the_documented_ones():
    """docs/tutorial.md names them."""
    assert set(get_command(app).commands) == {*COMMANDS, "certificate"}  # pyright: ignore[reportAttributeAccessIssue]


def test_shell_completes_commands():
    """What `triptych --install-completion` makes the shell ask."""
    asked = {"_TRIPTYCH_COMPLETE": "complete_bash", "COMP_WORDS": "triptych cert", "COMP_CWORD": "1"}
    said = CliRunner().invoke(app, prog_name="triptych", env=asked).output
    assert said.split() == ["certificate"]


def test_error_is_one_line_and_debug_shows_where(capsys: pytest.CaptureFixture):
    """The value and the fix, without a traceback; with `--debug` the error itself."""
    wrong = ["privacy", "private.noise_multiplier=-1", "--root", str(ROOT)]
    assert run(wrong) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: private.noise_multiplier=-1")
    assert len(said.splitlines()) == 1
    with pytest.raises(Exception, match="noise_multiplier"):
        run(["--debug", *wrong])


def test_engine_shows_where_an_error_arose_too(tmp_path: Path, capsys: pytest.CaptureFixture):
    """It has a command line of its own, below this one."""
    wrong = ["engine", str(tmp_path / "none.tflite"), "--board", "stm32f746", "--out", str(tmp_path / "out")]
    assert run(wrong) == 1
    assert capsys.readouterr().err.startswith("error: cannot read")
    with pytest.raises(DataError, match=r"none\.tflite"):
        run(["--debug", *wrong])


def test_unknown_option_is_named_without_a_traceback(capsys: pytest.CaptureFixture):
    """Typing errors are no bugs."""
    assert run(["doctor", "--nope"]) == 2
    assert "--nope" in capsys.readouterr().err


def test_privacy_statement_follows_the_overrides(capsys: pytest.CaptureFixture):
    """The statement is that of the config that would be trained."""
    assert run(["privacy", "private.noise_multiplier=40", "--root", str(ROOT)]) == 0
    assert "40" in capsys.readouterr().out


def test_outside_a_checkout_the_way_in_is_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    """The command is installed for every folder; the configuration is not there in every folder."""
    assert run(["runs", "--root", str(tmp_path)]) == 1
    assert "run in a checkout, or name it with --root" in capsys.readouterr().err
    assert run(["data", "--root", str(tmp_path)]) == 1
    assert "make repro" in capsys.readouterr().err


def test_doctor_tells_lacks_with_their_fix(tmp_path: Path):
    """A finding without a way out helps nobody; what is only a choice must not fail."""
    findings = examine(tmp_path)
    assert all(each.there or each.fix for each in findings)
    named = {each.name: each for each in findings}
    assert named["torch"].there
    assert not named["data/prepared/real"].there
    assert named["data/prepared/real"].needed
    assert not any(named[extra].needed for extra in EXTRAS)


def test_data_lists_what_is_prepared(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Source and licence stand beside the sizes."""
    card = {"name": "digits", "licence": "CC BY 4.0", "source": "UCI", "sizes": {"train": 1440}}
    write_json(tmp_path / "data/prepared/real/card.json", card)
    assert run(["data", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1,440" in said
    assert "CC BY 4.0" in said


def test_runs_are_found_by_their_metrics(tmp_path: Path, capsys: pytest.CaptureFixture):
    """The same search as in the dashboard."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = tracking.connect(uri)
    for name, epsilon in (("low", 3.0), ("high", 30.0)):
        run_id = tracking.open_run(client, "triptych", stage=f"train_{name}", fingerprint=name)
        client.log_metric(run_id, "epsilon", epsilon)
    assert run(["runs", "metrics.epsilon < 10", "--uri", uri, "--root", str(ROOT)]) == 0
    said = capsys.readouterr().out
    assert "train_low" in said
    assert "train_high" not in said
    assert run(["runs", "epsilon ?", "--uri", uri, "--root", str(ROOT)]) == 1
    assert "MLflow refuses 'epsilon ?'" in capsys.readouterr().err


def test_certificate_is_made_signed_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """From a key to a changed artefact that is found, by commands alone."""
    monkeypatch.setenv("TRIPTYCH_KEY", str(tmp_path / "own.pem"))
    folder = tmp_path / "out/board"
    folder.mkdir(parents=True)
    (folder / "firmware").write_text("code")
    write_json(folder / "run.json", {"stage": "board", "fingerprint": "1", "data": {}})
    certificate = seal({"epsilon": 1.0}, links(tmp_path, [Step("out/board")]))
    write_json(tmp_path / "certificate.json", certificate)
    file = ["certificate.json", "--root", str(tmp_path)]
    assert run(["certificate", "verify", *file]) == 0
    assert "2 artefacts are what the certificate says; not signed" in capsys.readouterr().out
    assert run(["certificate", "key", str(tmp_path / "key.pem")]) == 0
    assert run(["certificate", "sign", *file, "--key", str(tmp_path / "key.pem")]) == 0
    public = read_json(tmp_path / "certificate.sig.json")["public_key"]
    assert run(["certificate", "verify", *file, "--public-key", public]) == 0
    (folder / "firmware").write_text("evil")
    capsys.readouterr()
    assert run(["certificate", "verify", *file]) == 1
    assert "out/board/firmware is not what board wrote" in capsys.readouterr().err


def test_machine_that_has_a_key_expects_its_own_signature(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Who may change an artefact may seal and sign anew: with another key, or not at all."""
    monkeypatch.setenv("TRIPTYCH_KEY", str(tmp_path / "own.pem"))
    write_json(tmp_path / "certificate.json", seal({"epsilon": 1.0}, []))
    file = ["certificate.json", "--root", str(tmp_path)]
    assert run(["certificate", "key"]) == 0
    public = capsys.readouterr().out.split()[-1]
    assert run(["certificate", "verify", *file]) == 1
    assert "is not signed" in capsys.readouterr().err
    assert run(["certificate", "sign", *file]) == 0
    assert run(["certificate", "verify", *file]) == 0
    assert f"signed by {public}\n" in capsys.readouterr().out
    assert run(["certificate", "key", str(tmp_path / "other.pem")]) == 0
    assert run(["certificate", "sign", *file, "--key", str(tmp_path / "other.pem")]) == 0
    assert run(["certificate", "verify", *file]) == 1
    assert f"not by {public}" in capsys.readouterr().err
