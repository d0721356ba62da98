"""Parents and the model registry: what people compare in the dashboard, without duplicates."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from tests.networks import example_graph
from triptych.data.files import sha256, write_json
from triptych.errors import IntegrityError
from triptych.graph.tflite import write_tflite
from triptych.tracking import mlflow as tracking
from triptych.tracking import registry
from triptych.tracking.chain import seal
from triptych.tracking.pipeline import CHILDREN, PARENT, Child, publish_pipeline

EXPERIMENT = "triptych"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """One store for the module: the migration takes seconds."""
    return tracking.connect(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


def published(client: MlflowClient, folder: Path, mark: str, **metrics: float) -> Child:
    """A stage with its results on the disk and in the store."""
    stage = folder.name
    write_json(folder / "run.json", {"stage": stage, "fingerprint": mark, "config": {}, "data": {}})
    write_json(folder / "metrics.json", metrics)
    return Child(tracking.publish(client, EXPERIMENT, folder), folder)


def test_stages_are_nested_below_one_parent_that_can_be_searched(client: MlflowClient, tmp_path: Path):
    """One row for a pipeline, found by what its different stages measured."""
    train = published(client, tmp_path / "train", "t1", epsilon=9.0, accuracy=0.5)
    board = published(client, tmp_path / "board", "b1", peak_sram=5000, accuracy=0.6)
    parent = publish_pipeline(client, EXPERIMENT, "chain", [train, board])
    assert publish_pipeline(client, EXPERIMENT, "chain", [train, board]) == parent
    where = [tracking.experiment_id(client, EXPERIMENT)]
    found = client.search_runs(where, "metrics.epsilon < 10 and metrics.peak_sram < 320000")
    assert [run.info.run_id for run in found] == [parent]
    assert found[0].info.status == "FINISHED"
    assert found[0].data.metrics["accuracy"] == 0.6, "the later stage decides"
    below = client.search_runs(where, f"tags.`{PARENT}` = '{parent}'")
    assert {run.info.run_id for run in below} == {train.run_id, board.run_id}


def test_shared_result_stays_below_its_first_parent_and_is_listed_by_both(
    client: MlflowClient, tmp_path: Path
):
    """A cache hit must neither vanish from the old pipeline nor be doubled."""
    train = published(client, tmp_path / "train", "t2", epsilon=3.0)
    parents = [
        publish_pipeline(
            client, EXPERIMENT, "chain", [train, published(client, tmp_path / f"board{i}", f"b2{i}", flash=i)]
        )
        for i in range(2)
    ]
    assert parents[0] != parents[1]
    assert client.get_run(train.run_id).data.tags[PARENT] == parents[0]
    for parent in parents:
        assert json.loads(client.get_run(parent).data.tags[CHILDREN])["train"] == train.run_id


def test_network_is_registered_once_with_signature_and_certificate(client: MlflowClient, tmp_path: Path):
    """What is deployed is looked up here: its shapes, its epsilon, where it came from."""
    child = published(client, tmp_path / "chain", "c1", epsilon=9.0)
    graph = example_graph()
    (tmp_path / "model.tflite").write_bytes(write_tflite(graph))
    claims = {
        "privacy": {"epsilon": 9.0},
        "accuracy": {"target_accuracy": 0.7},
        "board": {"peak_sram": 5464},
    }
    link = {"wrote": {"model.tflite": sha256(tmp_path / "model.tflite")}}
    write_json(tmp_path / "certificate.json", seal(claims, [link]))
    files = (tmp_path / "model.tflite", tmp_path / "certificate.json")
    version = registry.register(client, child.run_id, registry.chain(*files))
    assert registry.register(client, child.run_id, registry.chain(*files)) == version
    found = client.get_model_version(registry.CHAIN, version)
    assert found.run_id == child.run_id
    assert (found.tags["epsilon"], found.tags["peak_sram"]) == ("9.0", "5464")
    folder = client.download_artifacts(child.run_id, "model", str(tmp_path))
    signature = Model.load(folder).signature
    assert signature is not None
    shape = signature.inputs.to_dict()[0]["tensor-spec"]
    assert shape == {"dtype": "int8", "shape": (-1, *graph[graph.input].shape[1:])}
    assert (Path(folder) / "certificate.json").read_bytes() == files[1].read_bytes()
    write_json(tmp_path / "certificate.json", seal({**claims, "board": {"peak_sram": 6000}}, [link]))
    assert registry.register(client, child.run_id, registry.chain(*files)) != version
    write_json(tmp_path / "certificate.json", seal(claims, []))
    with pytest.raises(IntegrityError, match="does not certify"):
        registry.chain(*files)
