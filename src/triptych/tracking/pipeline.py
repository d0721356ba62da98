"""Parents in MLflow: one run for each panel's pipeline, or job of a sweep, above the runs of its stages.

A parent belongs to one set of results: its fingerprint is a digest of its stages'
fingerprints. A stage's result that two parents share (a cache hit) stays below
the first and is listed by both, because MLflow knows one parent a run.
"""

import hashlib
import json
import time
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.data.files import read_json
from triptych.tracking.mlflow import flatten, flatten_metrics, open_run, writing

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT, CHILDREN = "mlflow.parentRunId", "triptych.children"


@dataclass(frozen=True)
class Child:
    """One published stage: its run in the store and its results on the disk."""

    run_id: str
    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """What its `run.json` says."""
        return read_json(self.folder / "run.json")


def publish_pipeline(
    client: "MlflowClient",
    experiment: str,
    name: str,
    children: Sequence[Child],
    *,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Make the parent of `children`, in order, and nest them below it; returns its run's id.

    It carries the settings and the metrics of all stages, a later stage's before
    an earlier one's where both have one, so that `metrics.epsilon < 10 and
    metrics.peak_sram < 320000` finds whole pipelines, and parallel coordinates
    show settings beside results; its description links the stages. `tags` say more of
    it. Repeating it changes nothing.
    """
    from mlflow.entities import Metric, Param

    marks = [child.record["fingerprint"] for child in children]
    mark = hashlib.sha256(json.dumps([name, *marks]).encode()).hexdigest()[:16]
    parent = open_run(client, experiment, stage=f"pipeline_{name}", fingerprint=mark)
    if client.get_run(parent).data.tags.get("triptych.published") == "true":
        return parent
    now = int(time.time() * 1000)
    metrics = [Metric(key, value, now, 0) for key, value in merged(children).items()]
    params = [Param(key, value[:6000]) for key, value in _settings(children).items()]
    tags = {**_description(client, parent, children), **(tags or {})}
    with writing(client):
        for start in range(0, len(params), 100):
            client.log_batch(parent, params=params[start : start + 100])
        for start in range(0, len(metrics), 1000):
            client.log_batch(parent, metrics=metrics[start : start + 1000])
        for key, value in tags.items():
            client.set_tag(parent, key, value)
        for child in children:
            if PARENT not in client.get_run(child.run_id).data.tags:
                client.set_tag(child.run_id, PARENT, parent)
        client.set_tag(parent, "triptych.published", "true")
        client.set_terminated(parent)
    return parent


def _settings(children: Sequence[Child]) -> Mapping[str, str]:
    return ChainMap(*(flatten(child.record["config"]) for child in reversed(children)))


def _description(client: "MlflowClient", parent: str, children: Sequence[Child]) -> dict[str, str]:
    """The runs of the stages by name, for programs, and as a list of links, for the page."""
    where = client.get_run(parent).info.experiment_id
    listed = {child.record["stage"]: child.run_id for child in children}
    links = [f"- [{stage}](#/experiments/{where}/runs/{run})" for stage, run in listed.items()]
    return {CHILDREN: json.dumps(listed), "mlflow.note.content": "\n".join(links)}


def merged(children: Sequence[Child]) -> Mapping[str, float]:
    """The numbers of every stage by name; the last stage that has one decides."""
    values: dict[str, float] = {}
    for child in children:
        values |= dict(flatten_metrics(read_json(child.folder / "metrics.json")))
    return values
