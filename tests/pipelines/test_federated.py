"""A federation in Flower's simulation engine, through the stages that a user runs."""

import json

from tests.pipelines.conftest import Checkout


def test_simulated_federation_ends_in_a_certificate_of_clients(checkout: Checkout):
    """Ray's processes, the engine's messages and the stage's files, none of which the unit tests have."""
    method = ("private.method=fed_gswgan", "private.epsilon_budget=100", "tracking.uri=null", "inputs=fed")
    for code in ("src", "pipelines"):
        (checkout.path / "fed").mkdir(exist_ok=True)
        (checkout.path / "fed" / code).symlink_to(checkout.path / code)
    checkout.stage("prepare", *method, "out=fed/data/prepared/real")
    checkout.stage("private_warm_start", *method, "out=fed/out/private/warm_start")
    checkout.stage("private_train", *method, "out=fed/out/private/train")
    out = checkout.path / "fed/out/private/train"
    metrics = json.loads((out / "metrics.json").read_text())
    certificate = json.loads((out / "certificate.json").read_text())
    assert certificate["adjacency"] == "replace-one client, with all its records"
    assert (metrics["clients"], metrics["rounds"], metrics["answers"]) == (12, 3, 36)
    assert metrics["bytes_up"] > 36 * 16 * 64 * 4
    assert 90 < certificate["epsilon"] <= 100
