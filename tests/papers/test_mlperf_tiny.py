"""MLPerf Tiny's networks through the whole engine (`docs/engine.md`, the table).

    TRIPTYCH_MIRROR=<folder> pytest -m paper tests/papers/test_mlperf_tiny.py

The mirror holds `models/mlperf_{kws,resnet,vww}_int8.tflite`, from github.com/mlcommons/tiny.
"""

import os
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from networks import inputs_of_size

from triptych.config import BoardConfig
from triptych.engine.firmware import write_firmware
from triptych.engine.measure import measure
from triptych.engine.reference import run
from triptych.graph.memory import plan
from triptych.graph.tflite import read_tflite

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)
MIRROR = os.environ.get("TRIPTYCH_MIRROR")
pytestmark = [pytest.mark.paper, pytest.mark.skipif(not MIRROR, reason="TRIPTYCH_MIRROR is not set")]


def without_softmax(content: bytes) -> bytes:
    """The network up to its logits: the order of classes is the same, and ours has no softmax."""
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    main = model.subgraphs[0]
    softmax = main.operators.pop()
    assert model.operatorCodes[softmax.opcodeIndex].deprecatedBuiltinCode == schema.BuiltinOperator.SOFTMAX
    main.outputs, model.signatureDefs = [softmax.inputs[0]], None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(("name", "per_mac"), [("kws", 5.2), ("resnet", 3.8), ("vww", 4.9)])
def test_mlperf_networks_are_byte_exact_on_the_board(tmp_path: Path, name: str, per_mac: float):
    """Networks of another converter: per-channel dead biases, 10x4 kernels, odd strides, residuals."""
    assert MIRROR
    content = without_softmax((Path(MIRROR) / f"models/mlperf_{name}_int8.tflite").read_bytes())
    graph = read_tflite(content)
    images = inputs_of_size(graph, 100)
    outputs = run(graph, images)
    write_firmware(tmp_path / "f", graph, BOARD, test_input=images[0], test_output=outputs[0])
    result = measure(tmp_path / "f", content, BOARD, images, outputs.argmax(1), scratch=tmp_path)
    assert result.metrics["arena"] == plan(graph).lower_bound
    assert result.metrics["instructions_per_mac"] <= per_mac
