"""MLPerf Tiny's networks and MCUNet's through the whole engine (`docs/engine.md`, the table).

    TRIPTYCH_MIRROR=<folder> pytest -m paper tests/papers/test_mlperf_tiny.py

The mirror holds `models/mlperf_{kws,resnet,vww}_int8.tflite`, from github.com/mlcommons/tiny, and
`models/mcunet_vww1_int8.tflite`, which is assets/vww.tflite of github.com/mit-han-lab/tinyengine.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from networks import inputs_of_size

from triptych.config.tiny import BoardConfig
from triptych.engine.eliminate import eliminate_constant_channels
from triptych.engine.firmware import write_firmware
from triptych.engine.measure import measure
from triptych.engine.reference import run
from triptych.graph.memory import plan
from triptych.graph.tflite import read_tflite

MIRROR = os.environ.get("TRIPTYCH_MIRROR")
pytestmark = [pytest.mark.paper, pytest.mark.skipif(not MIRROR, reason="TRIPTYCH_MIRROR is not set")]


@dataclass(frozen=True)
class Goal:
    """Most instructions and bytes; `flash` is what the schedule may use, the test vector included."""

    instructions: float
    peak_sram: int
    flash: int = 1024 * 1024


GOALS = [
    ("mlperf_kws", Goal(2.52e6, 9_000)),
    ("mlperf_resnet", Goal(10.3e6, 35_300)),
    ("mlperf_vww", Goal(4.3e6, 40_000)),
    ("mcunet_vww1", Goal(12.1e6, 80_000)),
    ("mcunet_vww1", Goal(12.6e6, 80_000, flash=560_000 + 80 * 80 * 3)),
]


@pytest.mark.parametrize(("name", "goal"), GOALS, ids=[f"{name}-{goal.flash}" for name, goal in GOALS])
def test_networks_of_others_are_byte_exact_on_the_board(tmp_path: Path, name: str, goal: Goal):
    """Other converters: dead biases of 2**30, 10x4 kernels, pads, residuals, means in a row."""
    assert MIRROR
    content = (Path(MIRROR) / f"models/{name}_int8.tflite").read_bytes()
    board = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=goal.flash)
    graph = read_tflite(content)
    images = inputs_of_size(graph, 100)
    outputs = run(graph, images)
    smaller = eliminate_constant_channels(graph)
    write_firmware(tmp_path / "f", smaller, board, test_input=images[0], test_output=outputs[0])
    result = measure(tmp_path / "f", content, board, images, outputs.argmax(1), scratch=tmp_path)
    print(name, result.metrics)  # noqa: T201  # the table of docs/engine.md
    assert result.metrics["arena"] == plan(smaller).lower_bound  # optimal
    assert result.metrics["peak_sram"] <= goal.peak_sram
    assert result.metrics["instructions"] <= goal.instructions
