"""The model registry: what may leave the house, each with its signature and its certificate.

One version for each certificate; it names the run that made it. MLflow can show,
compare and fetch it, and run it nowhere: the flavours are a generator's weights
and a `.tflite` file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from triptych.data.files import read_json, sha256
from triptych.errors import IntegrityError
from triptych.graph.ops import Tensor
from triptych.graph.tflite import read_tflite_file
from triptych.privacy.certificate import read_certificate
from triptych.tracking.mlflow import writing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

CHAIN, GENERATOR = "triptych-chain", "triptych-generator"


@dataclass(frozen=True)
class Released:
    """A model with what certifies it."""

    name: str
    description: str
    flavour: str
    model: Path
    certificate: Path
    mark: str  # of the certificate: the version's identity
    signature: "ModelSignature"
    tags: Mapping[str, str]


def chain(model: Path, certificate: Path) -> Released:
    """The chain's int8 network. Raises IntegrityError where the certificate speaks of another."""
    content = read_json(certificate)
    written = {each for link in content["chain"] for each in link["wrote"].values()}
    if sha256(model) not in written:
        raise IntegrityError(f"{certificate} does not certify {model}; run `dvc repro hinge`")
    graph, claims = read_tflite_file(model), content["claims"]
    tags = {
        "epsilon": str(claims["privacy"]["epsilon"]),
        "target_accuracy": str(claims["accuracy"]["target_accuracy"]),
        "peak_sram": str(claims["board"]["peak_sram"]),
    }
    signature = _signature(_int8(graph[graph.input]), _int8(graph[graph.output]))
    description = "Private samples to firmware, certified"
    return Released(CHAIN, description, "tflite", model, certificate, content["digest"], signature, tags)


def generator(folder: Path) -> Released:
    """The private generator in the results `folder` of its training.

    Raises PrivacyError where the certificate speaks of another.
    """
    model, certificate = folder / "generator.safetensors", folder / "certificate.json"
    promise = read_certificate(certificate, generator=model)
    config = read_json(folder / "run.json")["config"]
    latent = _tensor(np.float32, (-1, _latent_size(config["private.generator"])), "latent")
    size = config["data.image_size"]
    images = _tensor(np.float32, (-1, config["data.channels"], size, size), "images")
    signature = _signature(_schema(latent, _tensor(np.int64, (-1,), "labels")), _schema(images))
    tags = {name: str(promise[name]) for name in ("epsilon", "delta", "adjacency")}
    description = "Generator whose samples may be released, certified"
    mark = sha256(certificate)
    return Released(GENERATOR, description, "safetensors", model, certificate, mark, signature, tags)


def _latent_size(settings: dict[str, Any]) -> int:
    """Numbers of a code; a generator that distorts takes a pose behind it."""
    from triptych.data.distort import POSE

    return settings["latent_size"] + (POSE if settings.get("distortion") else 0)


def register(client: "MlflowClient", run_id: str, released: Released) -> str:
    """Register the model as the result of `run_id`; returns the version, the same for a known certificate."""
    with writing(client):
        _ensure_model(client, released)
        for known in client.search_model_versions(f"name='{released.name}'"):
            if known.tags.get("certificate") == released.mark:
                return known.version
        with TemporaryDirectory() as folder:
            _write_model(Path(folder), run_id, released)
            client.log_artifacts(run_id, folder, "model")
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        tags = {"certificate": released.mark, "model_sha256": sha256(released.model), **released.tags}
        return client.create_model_version(released.name, source, run_id, tags=tags).version


def _signature(inputs: "Schema", outputs: "Schema") -> "ModelSignature":
    from mlflow.models import ModelSignature

    return ModelSignature(inputs, outputs)


def _schema(*tensors: "TensorSpec") -> "Schema":
    from mlflow.types import Schema

    return Schema(list(tensors))


def _tensor(dtype: DTypeLike, shape: tuple[int, ...], name: str) -> "TensorSpec":
    from mlflow.types import TensorSpec

    return TensorSpec(np.dtype(dtype), shape, name)


def _int8(tensor: Tensor) -> "Schema":
    """Any number of the integer network's tensors."""
    return _schema(_tensor(np.int8, (-1, *tensor.shape[1:]), tensor.name))


def _write_model(folder: Path, run_id: str, released: Released) -> None:
    """The folder that MLflow calls a model: files, and `MLmodel` with their signature."""
    from mlflow.models import Model

    files: dict[str, Any] = {"data": released.model, "certificate": released.certificate}
    for file in files.values():
        (folder / file.name).write_bytes(file.read_bytes())
    entry = Model(run_id=run_id, signature=released.signature)
    entry.add_flavor(released.flavour, **{key: file.name for key, file in files.items()})
    entry.save(str(folder / "MLmodel"))


def _ensure_model(client: "MlflowClient", released: Released) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(released.name)
    except MlflowException:
        client.create_registered_model(released.name, description=released.description)
