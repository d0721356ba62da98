"""MLPerf Tiny's networks and MCUNet's through the whole engine (`docs/engine.md`, the table).

    TRIPTYCH_MIRROR=<folder> pytest -m paper tests/papers/test_mlperf_tiny.py

The mirror holds `models/mlperf_{kws,resnet,vww}_int8.tflite`, from github.com/mlcommons/tiny, and
`models/mcunet_vww1_int8.tflite`, which is assets/vww.tflite of github.com/mit-han-lab/tinyengine.
"""

import os
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

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)
MIRROR = os.environ.get("TRIPTYCH_MIRROR")
pytestmark = [pytest.mark.paper, pytest.mark.skipif(not MIRROR, reason="TRIPTYCH_MIRROR is not set")]


NETWORKS = [("mlperf_kws", 0.96), ("mlperf_resnet", 1.01), ("mlperf_vww", 1.05), ("mcunet_vww1", 1.21)]


PEAK_SRAM = {"mlperf_kws": 8_800, "mlperf_resnet": 34_000, "mlperf_vww": 40_000, "mcunet_vww1": 80_000}


@pytest.mark.parametrize(("name", "per_mac"), NETWORKS)
def test_networks_of_others_are_byte_exact_on_the_board(tmp_path: Path, name: str, per_mac: float):
    """Other converters: dead biases of 2**30, 10x4 kernels, pads, residuals, means in a row."""
    assert MIRROR
    content = (Path(MIRROR) / f"models/{name}_int8.tflite").read_bytes()
    graph = read_tflite(content)
    images = inputs_of_size(graph, 100)
    outputs = run(graph, images)
    smaller = eliminate_constant_channels(graph)
    write_firmware(tmp_path / "f", smaller, BOARD, test_input=images[0], test_output=outputs[0])
    result = measure(tmp_path / "f", content, BOARD, images, outputs.argmax(1), scratch=tmp_path)
    print(name, result.metrics)  # noqa: T201  # the table of docs/engine.md
    assert result.metrics["arena"] == plan(smaller).lower_bound  # optimal
    assert result.metrics["peak_sram"] <= PEAK_SRAM[name]
    assert result.metrics["instructions_per_mac"] <= per_mac
