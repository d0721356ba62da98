"""The exactness campaign: four real networks, five ways to compute them, one answer (`docs/engine.md`).

    TRIPTYCH_MIRROR=<folder> pytest -m paper -s tests/papers/test_engine_exact.py

LiteRT's reference kernels (every tensor, not only the output), the integer reference, plain C on this
machine, plain C on the simulated board, and the generated Thumb-2 code there.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from networks import inputs_of_size

from triptych.config.tiny import BoardConfig
from triptych.engine.eliminate import eliminate_constant_channels
from triptych.engine.firmware import write_firmware
from triptych.engine.host import run_native
from triptych.engine.oracle import run_litert
from triptych.engine.reference import run_all
from triptych.engine.simulate import Simulator
from triptych.engine.toolchain import BARE, CPU, compile_c
from triptych.graph.ops import Graph
from triptych.graph.tflite import int8_part, read_tflite, write_tflite
from triptych.quantization.requantize import Rounding

BOARD = BoardConfig(name="roomy", cpu="cortex_m7", sram=1024 * 1024, flash=4096 * 1024)
MIRROR = os.environ.get("TRIPTYCH_MIRROR")
INPUTS = 100
NETWORKS = pytest.mark.parametrize("name", ["mlperf_kws", "mlperf_resnet", "mlperf_vww", "mcunet_vww1"])
pytestmark = [pytest.mark.paper, pytest.mark.skipif(not MIRROR, reason="TRIPTYCH_MIRROR is not set")]


def litert_tensors(content: bytes, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of the int8 part by name, for one input."""
    interpreter = Interpreter(
        model_content=int8_part(content),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    details = interpreter._get_ops_details()  # pyright: ignore[reportAttributeAccessIssue]  # no other way
    written = {int(index) for detail in details for index in detail["outputs"]}
    details = [detail for detail in interpreter.get_tensor_details() if detail["index"] in written]
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in details}


def on_board(  # what to run, where, how
    folder: Path,
    graph: Graph,
    images: np.ndarray,
    expected: np.ndarray,
    *flags: str,
    rounding: Rounding = "tflite",
) -> np.ndarray:
    """Outputs of the simulated board; `flags` choose the kernels."""
    write_firmware(folder, graph, BOARD, test_input=images[0], test_output=expected[0], rounding=rounding)
    script = ["-T", str(folder / "linker.ld")]
    elf = compile_c(folder, folder / "a.elf", [*BARE, f"-mcpu={CPU[BOARD.cpu]}", *script, *flags])
    simulator = Simulator(elf, BOARD)
    assert simulator.boot() == 0
    done = simulator.run(images, graph[graph.output].size)
    print(f"{rounding} {' '.join(flags)}: {done.instructions.max():,} instructions")  # noqa: T201
    return done.outputs


@NETWORKS
def test_five_ways_to_compute_a_network_agree_in_every_byte(tmp_path: Path, name: str):
    """`exact` is the claim that TinyEngine cannot make; each way has bugs of its own to show."""
    assert MIRROR
    content = (Path(MIRROR) / f"models/{name}_int8.tflite").read_bytes()
    graph = read_tflite(content)
    images = inputs_of_size(graph, INPUTS)
    ours = run_all(graph, images)
    expected = ours[graph.output].reshape(INPUTS, -1)
    tensors = set()
    for index, image in enumerate(images):
        for tensor, value in litert_tensors(content, image).items():
            if tensor in ours:
                np.testing.assert_array_equal(value.ravel(), ours[tensor][index].ravel(), tensor)
                tensors.add(tensor)
    assert graph.output in tensors
    assert len(tensors) >= len(graph.ops)
    for network in (graph, eliminate_constant_channels(graph)):
        np.testing.assert_array_equal(run_native(network, images), expected)
        np.testing.assert_array_equal(on_board(tmp_path / "thumb", network, images, expected), expected)
    few = images[:10]
    plain = on_board(tmp_path / "plain", graph, few, expected, "-DTRIPTYCH_PORTABLE")
    np.testing.assert_array_equal(plain, expected[: len(few)])
    print(f"{name}: {INPUTS} inputs, {len(tensors)} tensors of LiteRT, {expected.size} output bytes: equal")  # noqa: T201


@NETWORKS
def test_rounding_once_is_litert_s_default_in_every_tensor(tmp_path: Path, name: str):
    """XNNPACK keeps no tensor between its operators: the network is cut after each of them."""
    assert MIRROR
    graph = read_tflite((Path(MIRROR) / f"models/{name}_int8.tflite").read_bytes())
    images = inputs_of_size(graph, INPUTS)
    ours = run_all(graph, images, rounding="single")
    for end, op in enumerate(graph.ops, 1):
        written = {graph.input} | {each.output for each in graph.ops[:end]}
        tensors = {name: tensor for name, tensor in graph.tensors.items() if name in written}
        part = write_tflite(Graph(graph.input, op.output, tensors, graph.ops[:end]))
        few = slice(None if end == len(graph.ops) else 10)
        theirs = run_litert(part, images[few], kernels="xnnpack")
        np.testing.assert_array_equal(theirs.ravel(), ours[op.output][few].ravel(), op.output)
    expected = ours[graph.output].reshape(INPUTS, -1)
    for network in (graph, eliminate_constant_channels(graph, rounding="single")):
        np.testing.assert_array_equal(run_native(network, images, rounding="single"), expected)
        board = on_board(tmp_path / "thumb", network, images, expected, rounding="single")
        np.testing.assert_array_equal(board, expected)
    few = images[:10]
    plain = on_board(tmp_path / "plain", graph, few, expected, "-DTRIPTYCH_PORTABLE", rounding="single")
    np.testing.assert_array_equal(plain, expected[: len(few)])
    print(f"{name}: {INPUTS} inputs, {len(graph.ops)} tensors of LiteRT's default: equal")  # noqa: T201
