"""What the robust panel refuses before any work."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from triptych.config import load
from triptych.config.robust import RobustConfig
from triptych.errors import ConfigError

CONF = str(Path(__file__).parents[2] / "conf")


def composed(*overrides: str) -> RobustConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return load(compose("config", overrides=["experiment=digits", *overrides])).robust


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("robust.shift.p=1.2", r"robust\.shift\.p=1\.2 must be a probability from 0 to 1"),
        ("robust.shift.p=-0.1", r"robust\.shift\.p=-0\.1 must be a probability"),
        ("robust.shift.ways=3", r"robust\.shift\.ways=3 is unknown; choose 2 or 10"),
        (
            "robust.shift.source_train_size=700",
            r"=700 and source_test_size=.* exceed .* half of data\.train_size",
        ),
        (
            "robust.objective=mixmatch",
            r"robust\.objective=mixmatch is unknown; choose one of pseudo_label, entropy, .*, adamatch",
        ),
        ("robust.rivals=[entropy,x]", r"robust\.rivals=x is unknown; choose one of pseudo_label"),
        ("robust.objective=tent", r"the network has none; set robust\.batch_norm=true"),
        ("robust.match.gain=1.5", r"robust\.match\.gain=1\.5 must be from 0 to 1"),
        ("robust.trust.accuracy=2", r"robust\.trust\.accuracy=2\.0 must be from 0 to 1"),
        ("robust.source.poly=-1", r"robust\.source\.poly=-1\.0 must not be negative"),
        (
            "robust.pseudo_label.threshold=1",
            r"robust\.pseudo_label\.threshold=1\.0 must be at least 0 and below 1",
        ),
        ("robust.pseudo_label.threshold=-1", r"threshold=-1\.0 must be at least 0"),
        (
            "robust.pseudo_label.rounds=7",
            r"robust\.pseudo_label\.rounds=7 must divide robust\.adapt\.epochs=",
        ),
        ("robust.pseudo_label.rounds=0", r"robust\.pseudo_label\.rounds=0 must be above 0"),
        ("robust.adapt.source_weight=-1", r"robust\.adapt\.source_weight=-1\.0 must not be negative"),
        ("robust.adapt.batch_size=0", r"robust\.adapt\.batch_size=0 must be above 0"),
        ("robust.source.momentum=1", r"robust\.source\.momentum=1\.0 must be at least 0 and below 1"),
        ("robust.source.weight_decay=-1", r"robust\.source\.weight_decay=-1\.0 must not be negative"),
        (
            "robust.source.reweight=0.5",
            r"robust\.source\.reweight=0\.5 must be at least 1; 1 switches it off",
        ),
        ("robust.seeds=0", r"robust\.seeds=0 must be above 0"),
        (
            "robust.shift.kind=svhn",
            r"kind=svhn is unknown; choose one of colour, usps, celeba",
        ),
        ("robust.shift.kind=celeba", r"kind=celeba needs robust\.shift\.folder: img_align_celeba/"),
        ("robust.shift.keep=0", r"robust\.shift\.keep=0\.0 must be above 0 and at most 1"),
        ("robust.shift.draw=published", r"first weights and order; set robust\.filters=\[\]"),
        ("robust.filters=[8,0]", r"robust\.filters=\[8, 0\]: 0 must be above 0"),
        ("robust.source.group_dro=-1", r"robust\.source\.group_dro=-1\.0 must not be negative; 0 is off"),
        ("robust.redraws=0", r"robust\.redraws=0 must be above 0"),
        ("robust.hidden=[128,0]", r"robust\.hidden=\[128, 0\]: 0 must be above 0"),
    ],
)
def test_an_impossible_value_is_named_with_what_is_allowed(override: str, message: str):
    """Hours of training must not end at the last stage."""
    with pytest.raises(ConfigError, match=message):
        composed(override)


def test_reweighting_must_leave_epochs_to_use_it():
    """Weights that come after the last epoch would silently do nothing."""
    late = ("robust.source.epochs=5", "robust.source.reweight_after=5")
    with pytest.raises(ConfigError, match=r"reweight_after=5 must be from 1 to below epochs=5"):
        composed("robust.source.reweight=20", *late)
    assert composed("robust.source.reweight=1", *late).source.reweight == 1


def test_the_objective_is_trained_once_whether_or_not_it_is_among_the_rivals():
    """Training it twice would waste minutes, leaving it out would have no result."""
    assert composed().objectives == ["pseudo_label", "entropy"]
    assert composed("robust.objective=fixmatch").objectives == ["pseudo_label", "entropy", "fixmatch"]
    assert composed("robust.objective=fixmatch", "robust.rivals=[]").objectives == ["fixmatch"]
