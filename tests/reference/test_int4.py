"""Weights of four bits, from the file to the board; LiteRT's reference kernels are the judge."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from networks import example_graph, in_four_bits, inputs_of_size

from triptych.config.tiny import BoardConfig
from triptych.deploy import generate
from triptych.engine import emit as emit_module
from triptych.engine import firmware as firmware_module
from triptych.engine.firmware import write_firmware
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.engine.thumb.convolution import Convolution
from triptych.engine.thumb.layers import Kernel, emitted, kernels_of
from triptych.engine.toolchain import BARE, CPU, build_firmware, compile_c
from triptych.errors import DataError
from triptych.graph.cost import constant_bytes
from triptych.graph.memory import plan
from triptych.graph.ops import Conv2D, Graph, Quantization, Tensor
from triptych.graph.tflite import read_tflite, write_tflite

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)


def pointwise(inputs: int, outputs: int, size: int = 40) -> Graph:
    """One 1x1 convolution with weights of 4 bits."""
    rng = np.random.default_rng(0)
    tensors = {
        "x": Tensor("x", (1, size, size, inputs), Quantization(0.0625, -3)),
        "y": Tensor("y", (1, size, size, outputs), Quantization(0.0625, -128)),
    }
    op = Conv2D(
        name="y",
        input="x",
        output="y",
        weight=rng.integers(-8, 8, (outputs, 1, 1, inputs)).astype(np.int8),
        bias=rng.integers(-500, 500, outputs).astype(np.int32),
        weight_scale=(rng.uniform(0.3, 1, outputs) / 300 / inputs**0.5).astype(np.float32),
        activation="relu6",
        weight_bits=4,
    )
    return Graph("x", "y", tensors, (op,))


def test_a_file_with_int4_weights_becomes_exact_firmware_with_half_the_constants(tmp_path: Path):
    """What a user runs; a board that differs from LiteRT in one byte is an error."""
    graph = in_four_bits(example_graph())
    model = tmp_path / "model.tflite"
    model.write_bytes(write_tflite(graph))
    footprint = generate(model, BOARD, tmp_path / "firmware", check=6).footprint
    assert footprint["mismatches_litert"] == footprint["mismatches_reference"] == 0
    channels = sum(op.bias.size for op in graph.weighted())
    halves = sum(-(-op.weight.size // 2) for op in graph.weighted())
    assert footprint["constants"] == constant_bytes(graph) == halves + 9 * channels


@pytest.mark.parametrize("flags", [(), ("-DTRIPTYCH_PORTABLE",)], ids=["thumb", "portable"])
def test_generated_and_portable_code_agree_on_the_board(tmp_path: Path, flags: tuple[str, ...]):
    """Two unpackings of the same nibbles: half bytes, signs and the odd last one."""
    graph = in_four_bits(example_graph(3))
    images = inputs_of_size(graph, 8)
    expected = run(graph, images)
    write_firmware(tmp_path, graph, BOARD, test_input=images[0], test_output=expected[0])
    script = ["-T", str(tmp_path / "linker.ld")]
    elf = compile_c(tmp_path, tmp_path / "a.elf", [*BARE, f"-mcpu={CPU[BOARD.cpu]}", *script, *flags])
    simulator = Simulator(elf, BOARD)
    assert simulator.boot() == 0
    np.testing.assert_array_equal(simulator.run(images, expected[0].size).outputs, expected)


@pytest.mark.parametrize(
    ("inputs", "outputs", "per_mac"), [(16, 96, 1.65), (96, 24, 1.12), (20, 7, 2.2)], ids=str
)
def test_unpacking_in_the_inner_loop_is_exact_and_costs_what_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: int, outputs: int, per_mac: float
):
    """CMSIS-NN's int4 takes 5.77 and 3.54 instructions per MAC on the first two (not measured here)."""
    graph = pointwise(inputs, outputs)
    forms = kernels_of(graph, graph.ops[0], backwards="y" in plan(graph).backwards)
    packed = [kernel for kernel in forms if bits_of(kernel) == 4]
    kernel = min(packed, key=lambda each: emitted(each)[0])
    chosen = partial(emit_module.emit, scheduler=lambda *_, **__: {"y": kernel})
    monkeypatch.setattr(firmware_module, "emit", chosen)
    images = inputs_of_size(graph, 3)
    expected = run(graph, images).reshape(3, -1)
    write_firmware(tmp_path, graph, BOARD, test_input=images[0], test_output=expected[0])
    simulator = Simulator(build_firmware(tmp_path, tmp_path / "a.elf", BOARD), BOARD)
    assert simulator.boot() == 0
    result = simulator.run(images, expected[0].size)
    np.testing.assert_array_equal(result.outputs, expected)
    assert result.instructions.max() / (40 * 40 * inputs * outputs) < per_mac


def bits_of(kernel: Kernel) -> int:
    assert isinstance(kernel, Convolution)
    return kernel.blocking.bits


def test_a_constant_that_is_too_short_for_its_shape_is_refused():
    """Half bytes beyond the buffer would be weights made of the next constant."""
    content = bytearray(write_tflite(pointwise(16, 6)))
    shape = np.array([6, 1, 1, 16], "<i4").tobytes()
    at = content.index(shape)
    content[at : at + len(shape)] = np.array([6, 1, 1, 18], "<i4").tobytes()
    with pytest.raises(DataError, match=r"'y/weight' holds 48 bytes .* of int4, which takes 54"):
        read_tflite(bytes(content))
