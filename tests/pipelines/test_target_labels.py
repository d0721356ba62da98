"""No method sees a label of the target: from the shift to the verdict, through the stages themselves."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from sklearn.datasets import load_digits

from pipelines.jobs import run_stages
from pipelines.robust_table import STAGES
from pipelines.stage import ROOT
from triptych.config import Config, load
from triptych.config.robust import OBJECTIVES
from triptych.data.prepared import Split, write_prepared

SMALL = (
    *("experiment=smoke", "tracking.uri=null", "robust.seeds=1", "robust.redraws=2", "robust.hidden=[8]"),
    *("robust.source.reweight_after=1", "robust.shift.source_train_size=540"),
)
METHODS = {
    "errors weigh more": (
        *("robust.source.reweight=20", "robust.objective=entropy"),
        "robust.rivals=[pseudo_label,information_maximisation,fixmatch,adamatch]",
    ),
    "JTT, soft balanced labels, without the source": (
        *("robust.source.reweight=20", "robust.source.restart=true", "robust.adapt.source_weight=0"),
        *("robust.pseudo_label.soft=true", "robust.pseudo_label.balance=true"),
    ),
    "group DRO, TENT": (
        *("robust.source.group_dro=0.01", "robust.batch_norm=true"),
        *("robust.objective=tent", "robust.rivals=[]"),
    ),
    "last layer again, conjugate of PolyLoss": (
        *("robust.source.last_layer=true", "robust.source.poly=1"),
        *("robust.objective=conjugate", "robust.rivals=[]"),
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def configured(*overrides: str) -> Config:
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
        return load(compose("config", [*SMALL, *overrides]))


def digits(folder: Path, *, permuted: bool) -> None:
    """Prepared digits; those of the target, test split included, with their labels or each other's."""
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    images = np.rint(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    if permuted:
        labels[720:] = np.random.default_rng(0).permutation(labels[720:])
    split = Split(images, labels.astype(np.int64))
    parts = {"train": split.take(slice(1440)), "test": split.take(slice(1440, None))}
    write_prepared(folder, parts, classes=10, card={"source": "digits", "licence": "BSD"})


def learnt(folder: Path) -> dict[str, bytes]:
    """Every file of weights, and the verdict."""
    files = [*folder.glob("out/robust/*/**/*.safetensors"), folder / "out/robust/diagnose/trust.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", METHODS)
def test_permuted_labels_of_the_target_change_no_weight_no_verdict_and_no_choice(tmp_path: Path, name: str):
    """Unsupervised is a promise about every path from the prepared data on, caches and selection included."""
    config = configured(*METHODS[name])
    metrics = []
    for folder, permuted in (("one", False), ("other", True)):
        digits(tmp_path / folder / "data/prepared/real", permuted=permuted)
        metrics.append(run_stages(STAGES, config, tmp_path / folder))
    one, other = (learnt(tmp_path / folder) for folder in ("one", "other"))
    assert one == other
    assert len(one) == 4 + len(config.robust.objectives)
    scores = [{key: run[key] for key in run if key.startswith("selection_score")} for run in metrics]
    assert scores[0] == scores[1]
    assert metrics[0]["target_accuracy_before"] != metrics[1]["target_accuracy_before"], "they were permuted"


def test_every_objective_is_among_the_methods():
    """A new one must not escape the test above."""
    assert {each for name in METHODS for each in configured(*METHODS[name]).robust.objectives} == set(
        OBJECTIVES
    )
