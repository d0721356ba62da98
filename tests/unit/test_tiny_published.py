from typing import Any

import pytest

from triptych.errors import DataError
from triptych.tiny.topology import topology
from triptych.tiny.zoo import published, published_space

SPACE = published_space(0.2, 48, 10, mobilenetv2=False)


def file_of(**changes: Any) -> dict[str, Any]:
    """The smallest MCUNet of width 0.2, in the form of the model zoo; stages 0 and 1 have equal widths."""
    units = [unit.layers for unit in topology(SPACE, SPACE.smallest()) if len(unit.layers) == 3]
    first = {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "stride": 1, "expand_ratio": 1}
    blocks = [
        {
            "in_channels": expand.inputs,
            "out_channels": project.outputs,
            "kernel_size": depthwise.kernel_size,
            "stride": depthwise.stride,
            "expand_ratio": 3,
        }
        for expand, depthwise, project in units
    ]
    value = {
        "blocks": [{"mobile_inverted_conv": block} for block in [first, *blocks]],
        "feature_mix_layer": None,
        "classifier": {"out_features": 10},
        "resolution": 48,
    }
    return value | changes


def test_stages_of_equal_width_are_told_apart_by_their_stride():
    """At width 0.2 rounding makes the first stages equally wide; a merged stage would be refused."""
    assert published(file_of()) == (SPACE, SPACE.smallest())


def test_a_network_of_another_family_is_refused():
    """Its cost would be that of a network that nobody published."""
    with pytest.raises(DataError, match=r"no width_mult among .* gives MobileNetV2"):
        published(file_of(feature_mix_layer={}))


def test_a_file_without_blocks_is_refused():
    """A wrong path must not end in a KeyError."""
    with pytest.raises(DataError, match="not a network of the MCUNet model zoo: KeyError"):
        published({"resolution": 48})
