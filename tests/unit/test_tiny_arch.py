import numpy as np
import pytest
from omegaconf import OmegaConf
from subnets import SPACE

from pipelines.stage import ROOT
from triptych.config.data import DataConfig
from triptych.config.tiny import TinyConfig
from triptych.errors import DataError
from triptych.tiny.arch import ArchConfig, Block, scale_channels, search_spaces


@pytest.mark.parametrize(
    ("base", "width_mult", "channels"),
    [
        (24, 0.5, 16),
        (40, 0.5, 24),
        (96, 0.9, 88),
        (192, 0.9, 176),
        (32, 0.9, 32),
        (16, 0.2, 8),
        (320, 0.5, 160),
    ],
)
def test_channels_are_those_of_the_published_networks(base: int, width_mult: float, channels: int):
    """MCUNet's 256 kB, 320 kB and int4 networks have these widths; another rounding misses them."""
    assert scale_channels(base, width_mult) == channels


def test_the_default_spaces_are_the_papers():
    """108 spaces; with the ratio 5 of the released networks a stage has 22,608 choices, in the paper 7371."""
    values = OmegaConf.load(ROOT / "conf/tiny/mcunet.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TinyConfig), values))
    assert isinstance(config, TinyConfig)
    data = DataConfig(name="mnist", image_size=28, train_size=1, test_size=1)
    spaces = search_spaces(config.space, data)
    assert len(spaces) == 108
    assert {space.subnets for space in spaces} == {22608**5 * 12}


def test_the_number_of_subnets_counts_depths_kernels_and_ratios():
    """The count is published as a metric; here it is small enough to write out."""
    assert SPACE.subnets == (6 + 36) * (6 + 36 + 216) * 6


def test_random_subnets_reach_every_depth_kernel_and_ratio():
    """A choice that is never drawn is never trained."""
    rng = np.random.default_rng(0)
    drawn = [SPACE.random(rng) for _ in range(200)]
    assert {arch.depth for arch in drawn} == {(a, b, 1) for a in (1, 2) for b in (1, 2, 3)}
    blocks = {block for arch in drawn for stage in arch.stages for block in stage}
    assert blocks == {Block(k, e) for k in (3, 5, 7) for e in (2, 3)}


def test_a_choice_without_weights_is_named():
    """The message must say which block is wrong, and what there is."""
    arch = SPACE.smallest()
    wrong = ArchConfig(arch.width_mult, arch.resolution, ((Block(9, 2),), *arch.stages[1:]))
    with pytest.raises(DataError, match=r"stage 0, block 0: kernel_size=9 is not in .*\(3, 5, 7\)"):
        SPACE.check(wrong)


def test_a_depth_that_the_space_lacks_is_named():
    """The supernet has no weights for a third block of the first stage."""
    arch = SPACE.smallest()
    wrong = ArchConfig(arch.width_mult, arch.resolution, (arch.stages[0] * 3, *arch.stages[1:]))
    with pytest.raises(DataError, match=r"stage 0: depth=3 is not in the search space \(1, 2\)"):
        SPACE.check(wrong)


def test_an_architecture_of_another_space_is_refused():
    """Same choices at another resolution are another network with another cost."""
    other = ArchConfig(SPACE.width_mult, SPACE.resolution + 1, SPACE.smallest().stages)
    with pytest.raises(DataError, match="width_mult, resolution"):
        SPACE.check(other)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"width_mult": 1, "resolution": 8, "kernel_size": [[3]], "expand_ratio": [[3, 4]], "depth": [1]},
        {"width_mult": 1, "resolution": 8, "kernel_size": [[3]], "expand_ratio": [[3]], "depth": [2]},
        {"width_mult": 1, "resolution": 8, "kernel_size": 3, "expand_ratio": [[3]], "depth": [1]},
    ],
)
def test_a_broken_arch_file_is_an_error_of_the_data(broken: dict):
    """arch.json may be written by hand; the mistake is the file's, not a traceback of ours."""
    with pytest.raises(DataError):
        ArchConfig.from_json(broken)
