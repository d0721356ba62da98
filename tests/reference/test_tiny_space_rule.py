from dataclasses import replace
from functools import cache

import pytest

from triptych.tiny.cost import Limits
from triptych.tiny.exact import fitting
from triptych.tiny.tables import CostTables
from triptych.tiny.zoo import published_space

KIB = 1024


@cache
def tables() -> list[CostTables]:
    """The 108 spaces of the paper, with the expand ratios that it names."""
    spaces = [
        published_space(width / 10, resolution, 1000, mobilenetv2=False)
        for width in range(2, 11)
        for resolution in (48, *range(64, 225, 16))
    ]
    return [CostTables(replace(space, expand_ratios=(3, 4, 6))) for space in spaces]


@pytest.mark.parametrize("reserve", [32, 40])
@pytest.mark.parametrize(
    ("sram", "flash", "published"),
    [(256, 1024, (0.5, 160)), (320, 1024, (0.5, 176)), (512, 2048, (1.0, 160))],
)
def test_the_papers_rule_selects_the_spaces_of_the_published_networks(
    sram: int, flash: int, published: tuple[float, int], reserve: int
):
    """MCUNet's section 3.1 on TinyEngine's memory, over all subnets, gives the spaces of its networks."""
    limits = Limits((sram - reserve) * KIB, flash * KIB)
    found = [(fitting(each, limits, memory="tinyengine"), each.space) for each in tables()]
    enough = [(fit.mean_macs, space) for fit, space in found if fit.share >= 0.01]
    _, space = max(enough, key=lambda pair: pair[0])
    assert (space.width_mult, space.resolution) == published
