"""MLflow as a projection of the results: complete, without duplicates, never in the way."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from mlflow import MlflowClient
from pytorch_lightning.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

from triptych.data.files import write_json
from triptych.tracking import mlflow as tracking
from triptych.tracking.fingerprint import dependency_digests, fingerprint, read_declaration
from triptych.tracking.history import History

EXPERIMENT = "triptych"
RECORD = {"stage": "train", "config": {"private": {"clip": 1}}, "data": {"data/real/train": "ab" * 32}}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a4944415478da63600000000200015d0b2ae40000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite store for the module: the migration takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def client(store: str) -> MlflowClient:
    return tracking.connect(store)


def results(folder: Path, mark: str) -> Path:
    """What a finished stage leaves."""
    write_json(folder / "run.json", {**RECORD, "fingerprint": mark})
    write_json(folder / "metrics.json", {"epsilon": 9.5, "accountant": "gdp", "group": {"a": 1}})
    (folder / "curves.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    (folder / "private_curves.csv").write_text("step,secret\n1,0.5\n")
    (folder / "samples.png").write_bytes(PNG)
    (folder / "private_samples.png").write_bytes(PNG)
    return folder


def runs(client: MlflowClient, mark: str) -> list:
    where = tracking.experiment_id(client, EXPERIMENT)
    return list(client.search_runs([where], f"tags.`triptych.fingerprint` = '{mark}'"))


def test_publishing_twice_shows_one_complete_run(client: MlflowClient, tmp_path: Path):
    """A cache hit must show the existing run: no duplicate, no hole."""
    folder = results(tmp_path, "twice")
    first = tracking.publish(client, EXPERIMENT, folder)
    assert tracking.publish(client, EXPERIMENT, folder) == first
    (run,) = runs(client, "twice")
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"epsilon": 9.5, "group.a": 1.0, "loss": 0.25}
    assert run.data.params == {"private.clip": "1"}
    assert [d.dataset.name for d in run.inputs.dataset_inputs] == ["train"]
    assert [m.value for m in client.get_metric_history(first, "loss")] == [0.5, 0.25]
    assert [a.path for a in client.list_artifacts(first, "figures")] == ["figures/samples.png"]


def test_published_store_knows_its_size(client: MlflowClient, store: str, tmp_path: Path):
    """Without the counts SQLite takes 8 s, not 0.1, for the best of ten thousand runs by a metric."""
    tracking.publish(client, EXPERIMENT, results(tmp_path, "counted"))
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as connection:
        counted = {row[0] for row in connection.execute("select tbl from sqlite_stat1")}
    assert {"runs", "tags", "metrics", "latest_metrics"} <= counted


def test_private_curves_and_pictures_stay_at_home_unless_asked(client: MlflowClient, tmp_path: Path):
    """What is computed on private data is not covered by epsilon."""
    run = tracking.publish(client, EXPERIMENT, results(tmp_path, "asked"), private=True)
    assert client.get_run(run).data.metrics["secret"] == 0.5
    assert len(client.list_artifacts(run, "figures")) == 2


def test_killed_attempt_is_continued(client: MlflowClient, store: str, tmp_path: Path):
    """Live rows of the attempt and the published result are one run."""
    send = tracking.live_sink(store, EXPERIMENT, stage="train", fingerprint="killed")
    send(1, {"loss": 0.5})
    assert [run.info.status for run in runs(client, "killed")] == ["RUNNING"]
    tracking.publish(client, EXPERIMENT, results(tmp_path, "killed"))
    assert [run.info.status for run in runs(client, "killed")] == ["FINISHED"]


def test_store_that_is_down_costs_one_warning(tmp_path: Path):
    """A training must survive its tracking server."""
    nowhere = "http://127.0.0.1:9"
    send = tracking.live_sink(nowhere, EXPERIMENT, stage="train", fingerprint="down")
    with pytest.warns(UserWarning, match=r"pipelines\.sync"):
        send(1, {"loss": 0.5})
    send(2, {"loss": 0.4})  # quiet: warnings are errors here


def test_parallel_first_use_makes_one_store(tmp_path: Path):
    """A sweep's jobs all start at once on a machine that has no store yet."""
    code = f"""
from triptych.tracking import mlflow as t
c = t.connect("sqlite:///{tmp_path}/mlflow.db")
t.open_run(c, "sweep", stage="train", fingerprint="same")
"""
    jobs = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [job.wait() for job in jobs] == [0] * 3
    client = tracking.connect(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.get_experiment_by_name("sweep") is not None


def test_relative_store_is_the_main_checkouts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Experiments from DVC's queue run in a copy that is deleted afterwards."""
    copy = tmp_path / ".dvc/tmp/exps/temp123"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert tracking.resolve_uri("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking.resolve_uri("http://server:5000") == "http://server:5000"


def declare(root: Path) -> None:
    (root / "src").mkdir()
    (root / "src/code.py").write_text("x = 1")
    (root / "dvc.yaml").write_text(
        "stages: {train: {cmd: x, deps: [src], params: [{params/private.yaml: [private.steps, seed]}]}}"
    )


def test_fingerprint_follows_declared_values_and_files_only(tmp_path: Path):
    """It must agree with DVC on when a result is the same."""
    declare(tmp_path)
    declaration = read_declaration(tmp_path, "train")

    def mark(**config: object) -> str:
        digests = dependency_digests(declaration, tmp_path)
        return fingerprint(declaration, {"private": {"steps": 5}, "seed": 0, **config}, digests)

    base = mark()
    assert mark(robust={"p": 0.9}) == base
    assert mark(private={"steps": 6}) != base
    assert mark(seed=1) != base
    (tmp_path / "src/__pycache__").mkdir()
    (tmp_path / "src/__pycache__/code.pyc").write_text("junk")
    assert mark() == base
    (tmp_path / "src/code.py").write_text("x = 2")
    assert mark() != base


def test_history_survives_a_checkpoint(tmp_path: Path):
    """A resumed run keeps the rows of its past."""
    history = History(tmp_path / "other.csv")
    history.rows = {1: {"loss": 0.5}, 10: {"loss": 0.25, "accuracy": 1.0}}
    resumed = History(tmp_path / "curves.csv")
    resumed.load_state_dict(history.state_dict())
    resumed.write()
    assert (tmp_path / "curves.csv").read_text() == "step,accuracy,loss\n1,,0.5\n10,1,0.25\n"


def test_curves_are_written_where_the_resumed_training_was_complete(tmp_path: Path):
    """A kill between the end of training and the results must not cost the curves."""

    class Logs(BoringModel):
        def training_step(self, batch: torch.Tensor, batch_idx: int) -> dict[str, torch.Tensor]:
            loss = self.step(batch)
            self.log("loss", loss)
            return {"loss": loss}

    def fit(name: str, resume: Path | None) -> bytes:
        trainer = pl.Trainer(
            max_epochs=1,
            limit_val_batches=0,
            callbacks=[History(tmp_path / name)],
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
        )
        data = DataLoader(torch.randn(4, 32))  # pyright: ignore[reportArgumentType]  # a tensor is a data set
        trainer.fit(Logs(), data, ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return (tmp_path / name).read_bytes()

    whole = fit("whole.csv", None)
    assert fit("resumed.csv", tmp_path / "last.ckpt") == whole
