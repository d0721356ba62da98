"""kill -9 in the middle of a training, and on: nothing lost, nothing understated."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.conftest import Checkout, kill_after_checkpoint, make_checkout
from triptych.data.files import sha256

LONG = {
    "reference": ["private.classifier.epochs=30"],
    "private_train": ["private.steps=600", "private.noise_multiplier=12.5"],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone with everything that comes before the two trainings."""
    clone = make_checkout(tmp_path_factory.mktemp("resume"))
    clone.stage("prepare", "out=data/prepared/real", "tracking.uri=null")
    clone.stage("private_warm_start", "out=out/private/warm_start", "tracking.uri=null")
    return clone


def train(clone: Checkout, stage: str, out: Path, *, kill: bool, workers: int = 0) -> Path:
    overrides = [*LONG[stage], f"out={out}", "tracking.uri=null", f"trainer.workers={workers}"]
    if kill:
        assert kill_after_checkpoint(clone, stage, *overrides) == -signal.SIGKILL
        assert not out.exists(), "a killed stage must not show results"
    clone.stage(stage, *overrides)
    assert not list(clone.path.glob(".ckpt/*/*")), "a finished stage leaves no checkpoints"
    return out


@pytest.fixture(scope="module")
def whole(prepared: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier's training that nothing disturbed, of seed 0."""
    return train(prepared, "reference", tmp_path_factory.mktemp("classifier") / "whole", kill=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_classifier_training_ends_bit_identical(
    prepared: Checkout, whole: Path, tmp_path: Path, workers: int
):
    """A resumed run is the run that was never killed, whoever made its batches."""
    resumed = train(prepared, "reference", tmp_path / "resumed", kill=True, workers=workers)
    for name in ("classifier.safetensors", "private_curves.csv", "metrics.json", "run.json"):
        assert sha256(whole / name) == sha256(resumed / name), name


def test_terminated_training_says_that_it_did_not_finish(prepared: Checkout, tmp_path: Path):
    """A shell must not go on as after a success; Lightning itself ends with status 0 on SIGTERM."""
    overrides = [*LONG["reference"], f"out={tmp_path / 'out'}", "tracking.uri=null"]
    status = kill_after_checkpoint(prepared, "reference", *overrides, by=signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert not (tmp_path / "out").exists()
    shutil.rmtree(prepared.path / ".ckpt")


def test_terminated_audit_has_not_passed(prepared: Checkout, tmp_path: Path):
    """Stopped among its thousand trainings, it must not look like one that refuted nothing."""
    program = [sys.executable, "-m", "pipelines.audit", "experiment=smoke"]
    environment = {**prepared.environment, "TMPDIR": str(tmp_path)}
    job = subprocess.Popen(
        program,
        cwd=prepared.path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("*/l")):  # the ledger of its trainings
        assert job.poll() is None, "the audit ended before its trainings"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    job.terminate()
    output, _ = job.communicate(timeout=60)
    assert job.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert "lower bounds" not in output


def test_killed_private_training_pays_its_steps_again(prepared: Checkout, tmp_path: Path):
    """The ledger never understates: steps repeated after a kill cost epsilon once more."""
    whole = train(prepared, "private_train", tmp_path / "whole", kill=False)
    resumed = train(prepared, "private_train", tmp_path / "resumed", kill=True)
    planned, paid = (json.loads((out / "certificate.json").read_text()) for out in (whole, resumed))
    assert planned["steps"] == planned["steps_taken"] == 600
    assert paid["steps"] > 600
    assert paid["epsilon"] > planned["epsilon"]
    assert len((resumed / "ledger.jsonl").read_text().splitlines()) == paid["steps"] + 1


def test_curves_of_an_encoder_outlive_a_kill_after_its_training(prepared: Checkout, tmp_path: Path):
    """What is not trained again must still be shown: the next attempt starts behind the autoencoder."""
    overrides = (
        "private.method=dp_merf_ae",
        "private.dp_merf_ae.encoder_steps=30",
        "private.dp_merf_ae.steps=500",
        "private.dp_merf_ae.noise_multiplier=3",
        f"out={tmp_path / 'out'}",
        "tracking.uri=null",
    )
    mark = "autoencoder.safetensors"
    assert kill_after_checkpoint(prepared, "private_train", *overrides, checkpoint=mark) == -signal.SIGKILL
    prepared.stage("private_train", *overrides)
    rows = (tmp_path / "out/private_encoder.csv").read_text().splitlines()
    assert rows[-1].startswith("30,")
    certificate = json.loads((tmp_path / "out/certificate.json").read_text())
    assert certificate["steps"] == certificate["steps_taken"] == 31, "nothing of it was paid for again"


FULL = {  # overrides, the file that grows too large, and the limit in kB: kernels in C take 19
    "prepare": ([], "train.safetensors", 8),
    "reference": (["private.classifier.epochs=2"], "classifier.safetensors", 8),
    "private_train": (["private.steps=200", "private.noise_multiplier=9"], "ledger.jsonl", 24),
}


@pytest.mark.parametrize("stage", FULL)
def test_full_disk_is_one_line_and_the_next_attempt_gives_the_result(
    stage: str, prepared: Checkout, tmp_path: Path
):
    """A file that cannot grow stands for a full disk: a result, a checkpoint, the ledger itself."""
    out, (overrides, result, kilobytes) = tmp_path / "full", FULL[stage]
    arguments = ["experiment=smoke", *overrides, f"out={out}", "tracking.uri=null"]
    command = [sys.executable, "-m", f"pipelines.{stage}", *arguments]
    limit = f'ulimit -f {kilobytes}; exec "$@"'
    limited = prepared.run("bash", "-c", limit, "bash", *command, check=False)
    assert limited.returncode == 1
    assert limited.stdout.strip().splitlines()[-1].startswith("error: cannot write")
    assert "Traceback" not in limited.stdout
    assert not out.exists()
    prepared.run(*command)
    assert (out / result).stat().st_size > kilobytes * 1024
    if stage == "private_train":
        certificate = json.loads((out / "certificate.json").read_text())
        assert certificate["steps"] > certificate["steps_taken"] == 200, "what was paid before stays paid"
