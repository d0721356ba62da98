"""Ready-made sweeps: each names stages and metrics that exist, and its table shows what differs."""

from pathlib import Path

import pytest
import yaml

from pipelines.jobs import _link_inputs
from pipelines.stage import ROOT
from pipelines.sweep import table

SWEEPS = sorted(Path(ROOT, "conf/sweep").glob("*.yaml"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("path", SWEEPS, ids=[path.stem for path in SWEEPS])
def test_sweep_names_stages_of_the_pipeline_and_a_folder_of_its_own(path: Path):
    """A shipped sweep that fails at its second stage has cost an hour."""
    sweep = yaml.safe_load(path.read_text())
    assert set(sweep.get("sweep", {}).get("stages", [])) <= set(STAGES)
    assert sweep["hydra"]["sweep"]["dir"] == f"multirun/{path.stem}"
    assert sweep["hydra"]["sweeper"]["params"]


def test_table_has_the_settings_that_differ_and_every_report():
    """What is the same everywhere explains nothing."""
    jobs = [
        {"settings": {"board": "a", "experiment": "digits"}, "report": {"macs": 1.0}},
        {"settings": {"board": "b", "experiment": "digits"}, "report": {"macs": 2.0}},
    ]
    assert table(jobs) == "board,macs\na,1.0\nb,2.0\n"


def test_job_reads_the_checkout_except_what_it_makes_itself(tmp_path: Path):
    """Two jobs must not write into each other's, nor into the checkout's, results."""
    deps = ["src/triptych/tiny", "out/tiny/space/space.json", "data/README.md", "out/hinge/x"]
    _link_inputs(tmp_path, deps, ["out/tiny/space"], {"out/hinge": "docs"})
    assert (tmp_path / "src/triptych/tiny").resolve() == ROOT / "src/triptych/tiny"
    assert (tmp_path / "data/README.md").resolve() == ROOT / "data/README.md"
    assert (tmp_path / "out/hinge/x").readlink() == ROOT / "docs/x"
    assert not (tmp_path / "out/tiny/space").exists()
