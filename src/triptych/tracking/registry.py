"""The model registry: the chain's int8 network with its signature and its certificate.

One version for each certificate; it names the run that made it. MLflow can show,
compare and fetch it, and run it nowhere: the flavour is a `.tflite` file.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.data.files import read_json, sha256
from triptych.errors import IntegrityError
from triptych.graph.ops import Graph, Tensor
from triptych.graph.tflite import read_tflite_file
from triptych.tracking.mlflow import writing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

NAME = "triptych-chain"


def register(client: "MlflowClient", run_id: str, model: Path, certificate: Path) -> str:
    """Register `model` as the result of `run_id`; returns the version, the same for a known certificate.

    Raises IntegrityError where the certificate speaks of another network.
    """
    digest = read_json(certificate)["digest"]
    _require_certified(model, certificate)
    with writing(client):
        _ensure_model(client)
        for known in client.search_model_versions(f"name='{NAME}'"):
            if known.tags.get("certificate") == digest:
                return known.version
        with TemporaryDirectory() as folder:
            _write_model(Path(folder), run_id, model, certificate)
            client.log_artifacts(run_id, folder, "model")
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        tags = {"certificate": digest, "model_sha256": sha256(model), **_claims(read_json(certificate))}
        return client.create_model_version(NAME, source, run_id, tags=tags).version


def _require_certified(model: Path, certificate: Path) -> None:
    written = {each for link in read_json(certificate)["chain"] for each in link["wrote"].values()}
    if sha256(model) not in written:
        raise IntegrityError(f"{certificate} does not certify {model}; run `dvc repro hinge`")


def signature(graph: Graph) -> "ModelSignature":
    """Input and output of the integer network: int8 tensors, any number of them."""
    from mlflow.models import ModelSignature

    return ModelSignature(_schema(graph[graph.input]), _schema(graph[graph.output]))


def _schema(tensor: Tensor) -> "Schema":
    from mlflow.types import Schema, TensorSpec

    return Schema([TensorSpec(np.dtype(np.int8), (-1, *tensor.shape[1:]), tensor.name)])


def _write_model(folder: Path, run_id: str, model: Path, certificate: Path) -> None:
    """The folder that MLflow calls a model: files, and `MLmodel` with their signature."""
    from mlflow.models import Model

    (folder / model.name).write_bytes(model.read_bytes())
    (folder / certificate.name).write_bytes(certificate.read_bytes())
    entry = Model(run_id=run_id, signature=signature(read_tflite_file(model)))
    entry.add_flavor("tflite", data=model.name, certificate=certificate.name)
    entry.save(str(folder / "MLmodel"))


def _claims(certificate: Mapping[str, Any]) -> dict[str, str]:
    claims = certificate["claims"]
    return {
        "epsilon": str(claims["privacy"]["epsilon"]),
        "target_accuracy": str(claims["accuracy"]["target_accuracy"]),
        "peak_sram": str(claims["board"]["peak_sram"]),
    }


def _ensure_model(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(NAME)
    except MlflowException:
        client.create_registered_model(NAME, description="Private samples to firmware, certified")
