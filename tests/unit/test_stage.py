"""A stage that is killed between any two file operations: its checkpoints are whole, or gone."""

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

import pytest

import pipelines.stage
from pipelines.stage import Stage, run_stage
from triptych.config import Config
from triptych.config.system import TrackingConfig, TrainerConfig
from triptych.data.files import read_json, write_atomic
from triptych.errors import OutputError
from triptych.privacy.ledger import Ledger, read_ledger

STEPS = 5
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


def train(stage: Stage) -> dict[str, int]:
    """Steps that are paid for before they are taken, and a checkpoint before the last two."""
    ledger, last = stage.checkpoints / "ledger.jsonl", stage.checkpoints / "curves/last.ckpt"
    taken = int(last.read_text()) if last.exists() else 0
    with Ledger(ledger, {"name": "test"}) as paid:
        for step in range(taken, STEPS):
            paid.record(step)
            if step == STEPS - 3:
                write_atomic(last, str(step + 1).encode())
    shutil.copyfile(ledger, stage.out / "ledger.jsonl")
    return {"taken": STEPS}


def killed(out: Path, *, at: int) -> bool:
    """Run the stage in a child that dies before its file operation number `at`; False where it has fewer."""
    child = os.fork()
    if not child:
        numbers = count(1)

        def watch(event: str, arguments: tuple) -> None:
            opened = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            if (opened or event in WRITES) and next(numbers) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        status = 1
        try:
            run_stage("train", train, CONFIG, out)
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


CONFIG = Config(trainer=TrainerConfig(progress_bar=False, threads=1), tracking=TrackingConfig(uri=None))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of one stage."""
    monkeypatch.setattr(pipelines.stage, "ROOT", tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: x}}")
    return tmp_path


def test_checkpoint_never_outlives_its_ledger(root: Path):
    """Else the next attempt would go on from steps that its fresh ledger does not count."""
    out, cleaned = root / "out", 0
    for at in count(1):
        shutil.rmtree(out, ignore_errors=True)
        if not killed(out, at=at):
            break
        ledgers = {path.parent for path in root.glob(".ckpt/*/ledger.jsonl") if open_to_attempts(path)}
        states = {path.parents[1] for path in root.glob(".ckpt/*/curves/last.ckpt") if open_to_attempts(path)}
        cleaned += (out / "run.json").exists()
        assert states <= ledgers, f"killed before file operation {at}"
        if (out / "run.json").exists():
            assert ledgers == states, f"killed before file operation {at}"
        run_stage("train", train, CONFIG, out)
        assert len(read_ledger(out / "ledger.jsonl")) - 1 >= read_json(out / "metrics.json")["taken"]
        assert not list(root.glob(".ckpt/*")), "what a killed attempt left of its clean-up goes with the next"
    assert cleaned > 3, "the clean-up was among what was interrupted"


def open_to_attempts(path: Path) -> bool:
    """Whether the file lies in a folder that a fingerprint may name."""
    return not path.relative_to(pipelines.stage.ROOT / ".ckpt").parts[0].startswith("done-")


def test_folder_that_cannot_be_moved_stays_whole(root: Path, monkeypatch: pytest.MonkeyPatch):
    """The result is there; what is left is continued or deleted another time."""

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError

    monkeypatch.setattr(pipelines.stage.tempfile, "mkdtemp", refuse)
    run_stage("train", train, CONFIG, root / "out")
    assert (root / "out/run.json").exists()
    assert (
        len(list(root.glob(".ckpt/*/ledger.jsonl"))) == len(list(root.glob(".ckpt/*/curves/last.ckpt"))) == 1
    )


@pytest.mark.parametrize("early", [True, False])
def test_folder_that_takes_no_results_is_one_error_and_the_next_attempt_goes_on(root: Path, early: bool):
    """Found before any work where it can be; nothing is lost where it comes to be so while the stage runs."""
    out, started = root / "out", []

    def block(stage: Stage) -> dict[str, int]:
        started.append(stage)
        out.write_text("")
        return train(stage)

    if early:
        out.write_text("")
    with pytest.raises(OutputError, match=r"cannot (write to|put the results in)"):
        run_stage("train", block, CONFIG, out)
    assert len(started) == (not early)
    out.unlink()
    run_stage("train", train, CONFIG, out)
    paid = len(read_ledger(out / "ledger.jsonl")) - 1
    assert paid == (STEPS if early else STEPS + 2), "it went on from the checkpoint"
