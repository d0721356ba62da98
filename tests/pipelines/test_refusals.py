"""Bad input at the command line: one line that names the mistake, before any work."""

from pathlib import Path

import pytest

from tests.pipelines.conftest import Checkout, make_checkout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone with prepared data only."""
    clone = make_checkout(tmp_path_factory.mktemp("refusals"))
    clone.stage("prepare", "out=data/prepared/real", "tracking.uri=null")
    return clone


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        ("private_warm_start", "private.discriminators=7", "private.discriminators=7"),
        ("private_train", "private.delta=1", "private.delta=1"),
        ("robust_shift", "robust.shift.p=1.5", "robust.shift.p=1.5"),
        ("tiny_space", "board.sram=1024", "board"),
        ("reference", "+private.clasifier.epochs=3", "clasifier"),
        ("reference", "private.clasifier.epochs=3", "clasifier"),
    ],
)
def test_impossible_value_is_refused(prepared: Checkout, stage: str, override: str, message: str):
    """No traceback, no work: the key, the value and the way out."""
    done = prepared.stage(stage, override, check=False)
    assert done.returncode != 0
    assert message in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({"private": ["private.discriminators=7"]}, "private.discriminators=7"),
        ({"private": ["private.noise_multiplier=0.5"]}, "above private.epsilon_budget=10; what fits"),
        ({"tiny": ["board.sram=9216"]}, "no subnet fits the board"),
        ({"robust": ["robust.shfit.p=1"]}, "robust.shfit.p"),
        ({"privat": []}, "unknown panel 'privat'"),
        ({"hinge": ["hinge.source=real"]}, "hinge.source=real is an ablation"),
        ({"hinge": ["experiment=paper_selftraining"]}, "experiment/hinge/paper_selftraining"),
    ],
)
def test_compose_refuses_before_any_stage(prepared: Checkout, panels: dict[str, list[str]], message: str):
    """`dvc repro` must fail at its first second, not after the warm start."""
    prepared.override(**panels)
    done = prepared.run("dvc", "repro", check=False)
    prepared.override()
    assert message in done.stdout
    assert "Running stage 'prepare'" not in done.stdout


def test_read_only_output_folder_is_named(prepared: Checkout):
    """`/proc` refuses every user, root too."""
    done = prepared.stage("reference", "out=/proc/triptych/reference", check=False)
    assert "error: cannot create /proc/triptych" in done.stdout
    assert "Traceback" not in done.stdout


def test_missing_input_says_how_to_make_it(prepared: Checkout, tmp_path: Path):
    """People who run one stage by hand must learn what comes before it."""
    done = prepared.stage("private_train", f"out={tmp_path}/train", check=False)
    assert "discriminators.safetensors does not exist; run" in done.stdout


def test_corrupt_data_is_named(prepared: Checkout, tmp_path: Path):
    """A damaged file must stop the stage with its name."""
    inputs = tmp_path / "inputs"
    for name in ("src", "pipelines"):
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        (inputs / name).symlink_to(prepared.path / name)
    real = inputs / "data/prepared/real"
    real.mkdir(parents=True)
    for path in (prepared.path / "data/prepared/real").iterdir():
        (real / path.name).write_bytes(path.read_bytes()[:100])
    done = prepared.stage("reference", f"inputs={inputs}", f"out={tmp_path}/out", check=False)
    assert "train.safetensors is not a prepared data set" in done.stdout
    assert "Traceback" not in done.stdout
