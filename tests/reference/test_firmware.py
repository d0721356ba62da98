"""The generated firmware: byte for byte what reference and LiteRT compute, in the memory that was planned."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from networks import example_graph, graphs, inputs_of_size

from triptych.config.tiny import BoardConfig
from triptych.engine.firmware import STACK_RESERVE, linker_script, require_room, write_firmware
from triptych.engine.host import run_native
from triptych.engine.measure import measure
from triptych.engine.oracle import run_litert
from triptych.engine.proof import prove_peak
from triptych.engine.reference import run
from triptych.engine.simulate import PAGE, Simulator
from triptych.engine.toolchain import BARE, CPU, build_firmware, compile_c
from triptych.errors import BoardError, FaultError, MismatchError, UnsupportedError
from triptych.graph.cost import constant_bytes
from triptych.graph.memory import plan
from triptych.graph.ops import Graph
from triptych.graph.tflite import write_tflite

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)
COMPILED = settings(  # each example compiles: few, and not shrunk for minutes
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def reference_or_refused(graph: Graph, images: np.ndarray) -> np.ndarray:
    try:
        return run(graph, images).reshape(len(images), -1)
    except UnsupportedError:
        assume(False)
        raise


def firmware(folder: Path, graph: Graph, board: BoardConfig = BOARD) -> Path:
    image = inputs_of_size(graph, 3)[1]
    write_firmware(folder, graph, board, test_input=image, test_output=run(graph, image[None])[0])
    return folder


@settings(COMPILED, max_examples=15)
@given(graphs())
def test_generated_c_equals_reference_on_this_machine(graph: Graph):
    """The same sources on another processor: no assumption about endianness, alignment or word size."""
    images = inputs_of_size(graph, 16)
    np.testing.assert_array_equal(reference_or_refused(graph, images), run_native(graph, images))


@settings(COMPILED, max_examples=6)
@given(graphs())
def test_single_rounding_equals_its_reference_on_this_machine_and_on_the_board(tmp_path: Path, graph: Graph):
    """The same kernels with the other rounding; the recorded vector tells the board which one."""
    images = inputs_of_size(graph, 8)
    reference_or_refused(graph, images)
    expected = run(graph, images, rounding="single").reshape(len(images), -1)
    np.testing.assert_array_equal(run_native(graph, images, rounding="single"), expected)
    folder = tmp_path / "firmware"
    write_firmware(folder, graph, BOARD, test_input=images[1], test_output=expected[1], rounding="single")
    simulator = Simulator(build_firmware(folder, tmp_path / "a.elf", BOARD), BOARD)
    assert simulator.boot() == 0
    np.testing.assert_array_equal(simulator.run(images, expected.shape[1]).outputs, expected)


def test_roundings_differ_and_the_generated_c_has_the_one_that_was_asked_for():
    """Random networks rarely show the difference: on this one it is there."""
    graph = example_graph()
    images = inputs_of_size(graph, 100)
    outputs = [run_native(graph, images, rounding=rounding) for rounding in ("tflite", "single")]
    assert (outputs[0] != outputs[1]).any()
    np.testing.assert_array_equal(outputs[1], run(graph, images, rounding="single"))


@settings(COMPILED, max_examples=8)
@given(graphs())
def test_board_equals_reference_and_litert_without_undefined_behaviour(tmp_path: Path, graph: Graph):
    """The claim of the whole engine. Built with traps on undefined behaviour: they would fault."""
    images = inputs_of_size(graph, 16)
    expected = reference_or_refused(graph, images)
    folder = firmware(tmp_path / "firmware", graph)
    checks = ["-fsanitize=undefined", "-fsanitize-trap=undefined"]
    script = ["-T", str(folder / "linker.ld")]
    elf = compile_c(folder, tmp_path / "a.elf", [*BARE, f"-mcpu={CPU[BOARD.cpu]}", *script, *checks])
    simulator = Simulator(elf, BOARD)
    assert simulator.boot() == 0
    np.testing.assert_array_equal(simulator.run(images, expected.shape[1]).outputs, expected)
    np.testing.assert_array_equal(run_litert(write_tflite(graph), images).reshape(expected.shape), expected)


@settings(COMPILED, max_examples=5)
@given(graphs())
def test_arena_and_constants_of_portable_firmware_are_as_predicted(tmp_path: Path, graph: Graph):
    """The search trusts the plan; a byte more here would break its promise on the board."""
    reference_or_refused(graph, inputs_of_size(graph, 3))
    folder = firmware(tmp_path / "f", graph)
    script = ["-T", str(folder / "linker.ld")]
    portable = [*BARE, f"-mcpu={CPU[BOARD.cpu]}", "-DTRIPTYCH_PORTABLE", *script]
    image = Simulator(compile_c(folder, tmp_path / "a.elf", portable), BOARD).image
    assert image.sizes["model_arena"] == plan(graph).peak
    assert image.static_sram == -(-plan(graph).peak // 4) * 4
    parts = ("_weight", "_bias", "_multiplier", "_shift")
    assert sum(size for name, size in image.sizes.items() if name.endswith(parts)) == constant_bytes(graph)


@pytest.mark.parametrize("cpu", ["cortex_m4", "cortex_m7"])
def test_measurement_of_a_residual_network_is_exact_and_repeatable(tmp_path: Path, cpu: str):
    """100 inputs equal on the board, in the reference and in LiteRT; numbers that DVC may cache."""
    graph = example_graph()
    board = BoardConfig(name="board", cpu=cpu, sram=32 * 1024, flash=64 * 1024)
    folder = firmware(tmp_path / "f", graph, board)
    images = inputs_of_size(graph, 100)
    labels = run(graph, images).argmax(1)
    first, again = (
        measure(folder, write_tflite(graph), board, images, labels, scratch=tmp_path) for _ in range(2)
    )
    assert first == again
    assert first.metrics["inputs_compared"] == 100
    assert first.metrics["board_accuracy"] == 1
    assert first.metrics["arena"] == plan(graph).peak
    assert 0 < first.metrics["stack"] <= STACK_RESERVE
    assert first.metrics["peak_sram"] <= first.metrics["sram_proven"] < first.metrics["peak_sram"] + PAGE + 8


def test_board_that_differs_from_its_model_is_an_error(tmp_path: Path):
    """A mismatch reported as a number would be averaged away."""
    graph, images = example_graph(seed=1), inputs_of_size(example_graph(), 100)
    folder = firmware(tmp_path / "f", graph)
    labels = np.zeros(100, np.int64)
    with pytest.raises(MismatchError, match="differs from the integer reference in"):
        measure(folder, write_tflite(example_graph()), BOARD, images, labels, scratch=tmp_path)


def test_firmware_for_another_board_is_not_measured(tmp_path: Path):
    """Its linker script would let it grow beyond the board that is simulated."""
    graph, images = example_graph(), inputs_of_size(example_graph(), 2)
    folder = firmware(tmp_path / "f", graph)
    other = BoardConfig(name="other", sram=16 * 1024, flash=16 * 1024)
    with pytest.raises(BoardError, match=r"generated for another board than other with board\.sram=16384"):
        measure(folder, write_tflite(graph), other, images, np.zeros(2, np.int64), scratch=tmp_path)


def test_one_page_less_than_the_peak_faults_with_its_address(tmp_path: Path):
    """Proves that the simulator traps what QEMU's boards let through: accesses beyond the RAM."""
    graph = example_graph()
    folder = firmware(tmp_path / "f", graph)
    elf = build_firmware(folder, tmp_path / "a.elf", BOARD)
    pages = -(-(STACK_RESERVE + plan(graph).peak) // PAGE)
    assert Simulator(elf, BOARD, sram=pages * PAGE).boot() == 0
    with pytest.raises(FaultError, match=f"write of . bytes at 0x{0x20000000 + (pages - 1) * PAGE:08x}"):
        Simulator(elf, BOARD, sram=(pages - 1) * PAGE).boot()
    simulator = Simulator(elf, BOARD)
    simulator.boot()
    assert prove_peak(folder, tmp_path, BOARD, stack=simulator.stack_used()) <= pages * PAGE


def test_stack_that_overflows_faults_instead_of_corrupting(tmp_path: Path):
    """The stack lies at the bottom of RAM for exactly this."""
    folder = firmware(tmp_path / "f", example_graph())
    (tmp_path / "tight.ld").write_text(linker_script(BOARD, stack=64))
    elf = build_firmware(folder, tmp_path / "a.elf", BOARD, linker_script=tmp_path / "tight.ld")
    with pytest.raises(FaultError, match="write of 4 bytes at 0x1fff"):
        Simulator(elf, BOARD).boot()


def test_too_small_boards_are_named_with_both_numbers(tmp_path: Path):
    """The user must learn how much is missing, before and after linking."""
    graph = example_graph()
    small = BoardConfig(name="tiny", sram=2048, flash=1024 * 1024)
    with pytest.raises(BoardError, match=rf"{plan(graph).peak + 1024} bytes of sram, but board.sram=2048"):
        require_room(graph, small)
    little = BoardConfig(name="tiny", sram=32 * 1024, flash=2048)
    folder = firmware(tmp_path / "f", graph, little)
    with pytest.raises(BoardError, match=r"needs \d+ bytes of flash, but board.flash=2048 \(tiny\)"):
        build_firmware(folder, tmp_path / "a.elf", little)
