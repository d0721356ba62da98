"""Training over two processes, as a user starts it."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.pipelines.conftest import Checkout
from triptych.data.files import write_json

FORKED = ("tracking.uri=null", "trainer.threads=1", "trainer.devices=2", "private.discriminator.chunk=5")
SPACE = {"chosen": {"width_mult": 0.5, "resolution": 16}}


@pytest.fixture(scope="module")
def whole(checkout: Checkout) -> Path:
    """Results of one process."""
    for stage, out in (("prepare", "data/prepared/real"), ("private_warm_start", "out/private/warm_start")):
        checkout.stage(stage, f"out={out}", "tracking.uri=null")
    return checkout.path


def difference(first: Path, second: Path) -> float:
    """The largest between two files of weights."""
    a, b = load_file(first), load_file(second)
    return max(float(abs(a[name] - b[name]).max()) for name in a)


def test_two_processes_warm_start_as_one(checkout: Checkout, whole: Path, tmp_path: Path):
    """Every discriminator depends on its own shard alone, wherever it is trained."""
    checkout.stage("private_warm_start", f"out={tmp_path}/forked", *FORKED)
    name = "discriminators.safetensors"
    assert difference(whole / "out/private/warm_start" / name, tmp_path / "forked" / name) < 1e-5
    assert (tmp_path / "forked/private_curves.csv").read_text().count("\n") > 1


@pytest.mark.parametrize(
    "release", ["full", *(pytest.param(name, marks=pytest.mark.paper) for name in ("independent", "shared"))]
)
def test_two_processes_train_as_one(checkout: Checkout, whole: Path, tmp_path: Path, release: str):
    """One ledger, one noise, one generator: what is released must not depend on the number of processes."""
    setting = (f"private.release={release}", "private.noise_multiplier=null", "private.steps=6")
    checkout.stage("private_train", f"out={tmp_path}/one", "tracking.uri=null", *setting)
    checkout.stage("private_train", f"out={tmp_path}/two", *FORKED, *setting)
    name = "generator.safetensors"
    assert difference(tmp_path / "one" / name, tmp_path / "two" / name) < 1e-5
    certificates = [json.loads((tmp_path / run / "certificate.json").read_text()) for run in ("one", "two")]
    assert certificates[0]["epsilon"] == certificates[1]["epsilon"]
    assert certificates[1]["steps"] == 6


def test_two_processes_train_a_supernet(checkout: Checkout, whole: Path, tmp_path: Path):
    """Both phases are forked; that they equal one process is shown in double precision by a unit test."""
    write_json(whole / "out/tiny/space/space.json", SPACE)
    checkout.stage("tiny_supernet", f"out={tmp_path}/forked", *FORKED)
    metrics = json.loads((tmp_path / "forked/metrics.json").read_text())
    assert metrics["smallest_subnet_accuracy"] > 0.4
    for phase in ("largest", "random"):
        curve = (tmp_path / f"forked/curves/{phase}.csv").read_text().splitlines()
        assert curve[-1].startswith("20,"), "1340 images in batches of 64, shared out"
