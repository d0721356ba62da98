from dataclasses import replace
from math import prod

import pytest
from subnets import EVEN

from triptych.errors import ConfigError
from triptych.tiny.cost import Limits, subnet_cost
from triptych.tiny.rivals import FAMILIES, rival, scaled_down
from triptych.tiny.topology import conv_layers
from triptych.tiny.zoo import published_space

IMAGENET = published_space(1.0, 224, 1000, mobilenetv2=False)


@pytest.mark.parametrize(
    ("name", "macs", "parameters"), [("mobilenetv2", 300.8, 3.50), ("proxylessnas", 320.4, 4.08)]
)
def test_at_full_size_a_rival_is_the_published_network(name: str, macs: float, parameters: float):
    """Millions as published (MobileNetV2: 300 and 3.4 to 3.5; ProxylessNAS mobile: 320 and 4.1)."""
    space, arch = rival(name, 1.0, 224, like=IMAGENET)
    space.check(arch)
    cost = subnet_cost(space, arch)
    normalized = sum(layer.outputs for layer in conv_layers(space, arch))  # a gain and a bias a channel
    assert cost.macs / 1e6 == pytest.approx(macs, abs=0.1)
    assert (cost.parameters + normalized) / 1e6 == pytest.approx(parameters, abs=0.01)


@pytest.mark.parametrize("name", FAMILIES)
def test_small_images_are_divided_as_in_the_searched_space(name: str):
    """Divided by 32, a digit is one pixel long before the last stage: no rival could win."""
    space, _ = rival(name, 0.5, 16, like=EVEN)
    ours = EVEN.stem_stride * prod(stage.stride for stage in EVEN.stages)
    assert space.stem_stride * prod(stage.stride for stage in space.stages) == ours
    untouched, _ = rival(name, 0.5, 224, like=IMAGENET)
    assert tuple(stage.stride for stage in untouched.stages) == FAMILIES[name].strides


def test_of_what_fits_the_rival_that_computes_most_is_taken():
    """A weaker version than the board allows would be a straw man."""
    limits = Limits(30_000, 200_000)
    space, _, cost = scaled_down("mobilenetv2", limits, [12, 16], like=EVEN)
    assert limits.fit(cost)
    wider, arch = rival("mobilenetv2", space.width_mult + 0.05, space.resolution, like=EVEN)
    assert not limits.fit(subnet_cost(wider, arch)) or subnet_cost(wider, arch).macs <= cost.macs


def test_a_board_for_no_rival_is_refused():
    """The comparison must not go on with a network that does not run."""
    with pytest.raises(ConfigError, match=r"no width of proxylessnas at the resolutions \[16\] fits"):
        scaled_down("proxylessnas", Limits(100, 100), [16], like=replace(EVEN, classes=2))
