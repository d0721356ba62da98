"""The multirun that compares searched subnets with scaled-down networks, at its smallest."""

import json
import signal
from pathlib import Path

import pytest

from tests.pipelines.conftest import Checkout, kill_after_checkpoint, make_checkout

COMMAND = (
    "python",
    "-m",
    "pipelines.tiny_compare",
    "-m",
    "+sweep=tiny_compare",
    "hydra.launcher.n_jobs=1",
    "experiment=smoke",
    "seed=0",
    "board=stm32f410",
    "tiny.compare.epochs=1",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    clone = make_checkout(tmp_path_factory.mktemp("compare"))
    clone.run(*COMMAND)
    return clone


def job(clone: Checkout) -> Path:
    return clone.path / "multirun/tiny_compare/smoke/0"


def test_all_networks_are_within_the_same_memory(clone: Checkout):
    """Otherwise the comparison says nothing: SRAM and Flash are what the board leaves, for each."""
    found = json.loads((job(clone) / "comparison.json").read_text())
    assert set(found["networks"]) == {"searched", "mobilenetv2", "proxylessnas"}
    for row in found["networks"].values():
        assert max(row["block_sram"]) <= row["peak_sram_predicted"] <= found["sram"]
        assert row["flash_predicted"] <= found["flash"]
    table = (clone.path / "multirun/tiny_compare/table.md").read_text()
    assert table.count("| smoke |") == 3
    for name in ("table.png", "blocks.png"):
        assert (clone.path / "multirun/tiny_compare" / name).stat().st_size > 5000


def test_weights_of_4_bits_reach_the_firmware(clone: Checkout):
    """The option must hold from the network's training to the code: half the bytes, and nothing refused."""
    for link, target in (
        ("out/tiny", job(clone) / "chain/out/tiny"),
        ("data/prepared/real", job(clone).parents[1] / "prepared-digits"),
    ):
        (clone.path / link).parent.mkdir(parents=True, exist_ok=True)
        (clone.path / link).symlink_to(target)
    common, flash = ("board=stm32f410", "tracking.uri=null"), {}
    for bits in (8, 4):
        override = f"tiny.quantization.weight_bits={bits}"
        clone.stage("tiny_quantize", *common, override, "out=out/tiny/quantize")
        metrics = json.loads((clone.path / "out/tiny/quantize/metrics.json").read_text())
        flash[bits] = metrics["flash_predicted"]
    clone.stage("tiny_generate", *common, "out=out/tiny/generate")
    generated = json.loads((clone.path / "out/tiny/generate/metrics.json").read_text())
    assert generated["constants"] == flash[4] < 0.75 * flash[8]


def test_a_killed_job_keeps_what_was_finished(clone: Checkout):
    """Twelve jobs take an hour; neither the search nor a trained network may be paid for twice."""
    (job(clone) / "comparison.json").unlink()
    (job(clone) / "proxylessnas.json").unlink()
    row = json.loads((job(clone) / "searched.json").read_text())
    (job(clone) / "searched.json").write_text(json.dumps({**row, "accuracy": 0.123}))
    searched = clone.path / "multirun/tiny_compare/smoke/0/chain/out/tiny/search/run.json"
    before = searched.stat().st_mtime_ns
    clone.run(*COMMAND)
    assert "| 12.3 |" in (clone.path / "multirun/tiny_compare/table.md").read_text()
    assert (job(clone) / "proxylessnas.json").exists()
    assert searched.stat().st_mtime_ns == before


def test_a_terminated_job_did_not_succeed_and_the_same_command_completes_it(clone: Checkout):
    """Lightning alone would end with status 0, on which a shell goes on to the next job."""
    out = clone.path / "multirun/terminated/smoke"
    overrides = (
        f"out={out}",
        "board=stm32f410",
        "tiny.compare.epochs=1",
        "tiny.supernet.largest_epochs=15",
        "tracking.uri=null",
    )
    status = kill_after_checkpoint(clone, "tiny_compare", *overrides, by=signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert not (out / "comparison.json").exists()
    clone.stage("tiny_compare", *overrides)
    assert set(json.loads((out / "comparison.json").read_text())["networks"]) > {"searched"}
