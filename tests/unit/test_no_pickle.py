"""No file that is read may run code: the sources are searched, and a hostile checkpoint is tried."""

import ast
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

import pipelines.stage
from benchmarks.fuzz_readers import READERS, Target
from pipelines.stage import Stage
from triptych.config import Config
from triptych.config.system import TrackingConfig, TrainerConfig
from triptych.errors import DataError, TriptychError
from triptych.federated.state import load_state
from triptych.tracking.fingerprint import read_declaration

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "pipelines").glob("*.py")])
UNSAFE_MODULES = {"cloudpickle", "dill", "marshal", "shelve"}
NAMES = {"pickle": {"load", "loads", "Unpickler"}, "joblib": {"load"}, "torch": {"load"}}
SAFE_ONLY_WITH = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
UNSAFE_CALLS = {
    "eval",
    "exec",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pickle.load",
    "pickle.loads",
}
UNPACKING = {"extract", "extractall", "unpack_archive"}  # an archive says where its files go


def findings(tree: ast.AST) -> Iterator[str]:
    """Everything in a source that could unpickle or evaluate what a file says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in UNSAFE_MODULES | {"pickle"})
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {a.name for a in node.names}
            if node.module in UNSAFE_MODULES or names & NAMES.get(node.module, set()):
                yield node.module
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keyword, value = SAFE_ONLY_WITH.get(name, (None, None))
            given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            unpacks = name.split(".")[-1] in UNPACKING
            if name in UNSAFE_CALLS or unpacks or (keyword and given.get(keyword) is not value):
                yield ast.unparse(node)
            resumes = name.endswith(".fit") and any(k.arg == "ckpt_path" for k in node.keywords)
            if resumes and given.get("weights_only") is not True:
                yield ast.unparse(node)


def test_no_source_unpickles():
    """One careless load is enough for a file to take over the machine."""
    found = {path.name: list(findings(ast.parse(path.read_text()))) for path in SOURCES}
    assert {name: rows for name, rows in found.items() if rows} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p)",
        "yaml.load(p, Loader)",
        "trainer.fit(m, ckpt_path=p)",
        "archive.extractall(folder)",
    ],
)
def test_search_finds_what_it_looks_for(source: str):
    """A search that finds nothing proves nothing."""
    assert list(findings(ast.parse(source)))


class Hostile:
    """Unpickling it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.write_text, (self.trace, "run")


def hostile_files(trace: Path) -> Iterator[bytes]:
    """A pickle, a NumPy array and archive of objects, and torch's zip: what a loader might unpickle."""
    yield pickle.dumps(Hostile(trace), protocol=2)  # torch warns of others
    objects = np.array([Hostile(trace)], dtype=object)
    for write in (
        lambda file: np.save(file, objects, allow_pickle=True),
        lambda file: np.savez(file, x=objects, y=objects),
        lambda file: torch.save({"state": Hostile(trace)}, file),
    ):
        buffer = io.BytesIO()
        write(buffer)
        yield buffer.getvalue()


def test_the_hostile_files_are_hostile(tmp_path: Path):
    """Else no reader would have to refuse them."""
    pickle.loads(next(hostile_files(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", [*READERS, "state"])
def test_hostile_file_runs_at_no_entry(name: str, tmp_path: Path):
    """Every reader of a file that others may have written, with what unpickles into a written file."""
    target = READERS[name]() if name in READERS else Target([], load_state)
    path = tmp_path / target.name
    for content in hostile_files(tmp_path / "trace"):
        path.write_bytes(content)
        with pytest.raises(TriptychError):
            target.read(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.filterwarnings("ignore")  # Lightning has advice
@pytest.mark.parametrize("damage", ["hostile", "torn"])
def test_checkpoint_that_is_not_ours_is_refused_unread(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A shared folder may hold a checkpoint that somebody else put there."""
    monkeypatch.setattr(pipelines.stage, "ROOT", tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: x}}")
    hardware = TrainerConfig(progress_bar=False, threads=1)
    config = Config(trainer=hardware, tracking=TrackingConfig(uri=None))
    stage = Stage(read_declaration(tmp_path, "train"), config, tmp_path, tmp_path / "out")
    last = stage.checkpoints / "curves" / "last.ckpt"
    last.parent.mkdir(parents=True)
    torch.save({"epoch": 0, "state_dict": Hostile(tmp_path / "trace")}, last)
    if damage == "torn":
        last.write_bytes(b"")
    with pytest.raises(DataError, match=r"last\.ckpt is damaged or was not written by this program"):
        stage.fit(BoringModel(), DataLoader(torch.randn(4, 32)), epochs=1)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "trace").exists()
