from dataclasses import asdict

import pytest
from hydra import compose, initialize_config_dir

from pipelines.stage import ROOT
from triptych.config import load
from triptych.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tiny.space.kernel_sizes=[3,4]", r"tiny\.space\.kernel_sizes=\[3, 4\]: 4 is even.*choose"),
        ("tiny.space.kernel_sizes=[]", r"tiny\.space\.kernel_sizes=\[\] is empty"),
        ("tiny.space.width_mults=[]", r"tiny\.space\.width_mults=\[\] is empty"),
        ("tiny.space.resolutions=[24,0]", r"tiny\.space\.resolutions=\[24, 0\]: 0 must be above 0"),
        ("tiny.space.depths=[2,2]", r"tiny\.space\.depths=\[2, 2\] repeats"),
        ("tiny.space.stage_strides=[1]", r"stage_strides=\[1\] must have one entry a stage"),
        ("tiny.space.min_share=1.5", r"tiny\.space\.min_share=1\.5 must be a share"),
        ("tiny.space.method=guess", r"tiny\.space\.method=guess is unknown; choose one of sampling, exact"),
        ("tiny.space.memory=cmsis", r"tiny\.space\.memory=cmsis is unknown"),
        ("tiny.space.reserves=[-1]", r"tiny\.space\.reserves=\[-1\].*must not be negative"),
        ("tiny.space.samples=0", r"tiny\.space\.samples=0 must be above 0"),
        ("tiny.space.last_width=-8", r"tiny\.space\.last_width=-8 must be above 0"),
        ("tiny.reserve.sram=-1", r"tiny\.reserve\.sram=-1 must not be negative"),
        ("tiny.reserve.flash=2000000", r"tiny\.reserve\.flash=2000000 leaves nothing of board\.flash"),
        ("tiny.supernet.momentum=1", r"tiny\.supernet\.momentum=1\.0 must be at least 0 and below 1"),
        ("tiny.supernet.epochs=0", r"tiny\.supernet\.epochs=0 must be above 0"),
        ("tiny.supernet.validation_size=1440", r"batch_size=64 exceeds the 0 images"),
        ("tiny.supernet.batch_size=2000", r"tiny\.supernet\.batch_size=2000 exceeds the 1200 images"),
        ("tiny.supernet.schedule=ofa", r"tiny\.supernet\.schedule=ofa is unknown; choose one of tinynas"),
        (
            "tiny.supernet.schedule=sandwich tiny.supernet.subnets_per_step=1",
            r"subnets_per_step=1: a sandwich has at least",
        ),
        ("tiny.search.parents=50", r"tiny\.search\.parents=50 exceeds population=20"),
        ("tiny.search.max_macs=0", r"tiny\.search\.max_macs=0 must be above 0"),
        ("tiny.search.max_instructions=5", r"max_instructions=5 needs tiny\.search\.instructions=true"),
        ("tiny.search.predictor_samples=5", r"predictor_samples=5 is too few"),
        ("tiny.search.mutation_probability=0", r"mutation_probability=0\.0 must be above 0"),
        ("tiny.search.recalibration_size=1201", r"tiny\.search\.recalibration_size=1201 exceeds the 1200"),
        ("tiny.quantization.epochs=-1", r"tiny\.quantization\.epochs=-1 must not be negative"),
        ("tiny.quantization.calibration_size=0", r"calibration_size=0 must be above 0"),
    ],
)
def test_an_impossible_value_is_refused_with_key_value_and_fix(override: str, message: str):
    """The alternative is a shape error, or a wrong result, after minutes of training."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        values = compose("config", override.split())
    with pytest.raises(ConfigError, match=message):
        load(values)


@pytest.mark.parametrize("experiment", ["digits", "mnist", "mcunet_spaces"])
def test_the_committed_experiments_are_valid(experiment: str):
    """A value that is missing or impossible in conf/ stops every stage of the panel."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = load(compose("config", [f"experiment={experiment}"]))
    assert "???" not in str(asdict(config.tiny))
