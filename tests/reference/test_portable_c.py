"""The generated C by other compilers: gcc with its sanitizers and analyzer, arm-none-eabi-gcc with QEMU."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from edges import with_edges
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from networks import graphs, in_four_bits, inputs_of_size, moving_graph

from triptych.config.tiny import BoardConfig
from triptych.engine.firmware import write_firmware
from triptych.engine.reference import run
from triptych.errors import UnsupportedError
from triptych.graph.ops import Graph
from triptych.graph.tflite import read_tflite
from triptych.quantization.requantize import Rounding

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)
EDGES = read_tflite(with_edges())
NETWORKS: dict[str, tuple[Graph, Rounding]] = {
    "moving": (moving_graph(), "tflite"),
    "moving once": (moving_graph(), "single"),
    "edges": (EDGES, "tflite"),
    "edges once": (EDGES, "single"),
    "int4": (in_four_bits(EDGES), "tflite"),
}
networks = pytest.mark.parametrize(("graph", "rounding"), NETWORKS.values(), ids=NETWORKS)
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wpedantic", "-Werror"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DTRIPTYCH_PORTABLE"]
COMPILED = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# reals in, reals out, by the documented interface alone
HARNESS = """
#include <stdio.h>
#include "model.h"
int main(void)
{
    static float input[MODEL_INPUT_SIZE], output[MODEL_OUTPUT_SIZE];
    model_init();
    while (fread(input, sizeof input, 1, stdin) == 1) {
        for (int i = 0; i < MODEL_INPUT_SIZE; i++)
            model_input()[i] = model_quantize(input[i]);
        model_run();
        for (int i = 0; i < MODEL_OUTPUT_SIZE; i++)
            output[i] = model_dequantize(model_output()[i]);
        fwrite(output, sizeof output, 1, stdout);
    }
    return 0;
}
"""
# where startup.c ends: semihosting SYS_EXIT_EXTENDED (0x20) with the status
EXIT = """
#include <stdint.h>
__attribute__((noreturn)) void firmware_done(int status)
{
    static uint32_t block[2];
    block[0] = 0x20026u;
    block[1] = (uint32_t)status;
    __asm volatile("mov r0, #0x20\\n mov r1, %0\\n bkpt 0xAB" ::"r"(block) : "r0", "r1", "memory");
    for (;;) ;
}
"""


def need(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def call(command: Sequence[str | Path], given: bytes = b"") -> bytes:
    done = subprocess.run(list(map(str, command)), input=given, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr.decode()[-3000:]}"
    return done.stdout


def firmware(
    folder: Path, graph: Graph, rounding: Rounding = "tflite", test_output: np.ndarray | None = None
) -> Path:
    image = inputs_of_size(graph, 3)[1]
    expected = run(graph, image[None], rounding=rounding)[0] if test_output is None else test_output
    write_firmware(folder, graph, BOARD, test_input=image, test_output=expected, rounding=rounding)
    return folder


def sources(folder: Path) -> list[Path]:
    return [folder / "model.c", *sorted((folder / "kernels").glob("*.c"))]


def run_sanitized(folder: Path, graph: Graph, reals: np.ndarray) -> np.ndarray:
    """Outputs in reals of the firmware in `folder`, built by gcc with sanitizers that stop it."""
    (folder / "harness.c").write_text(HARNESS)
    program = folder / "harness"
    call(["gcc", *STRICT, *SANITIZED, f"-I{folder}", *sources(folder), folder / "harness.c", "-o", program])
    raw = call([program], reals.astype(np.float32).tobytes())
    return np.frombuffer(raw, np.float32).reshape(len(reals), graph[graph.output].size)


def in_reals(graph: Graph, name: str, values: np.ndarray) -> np.ndarray:
    grid = graph[name].quantization
    assert grid
    return (grid.scale * (values.astype(np.float64) - grid.zero_point)).astype(np.float32)


@networks
def test_strict_compilers_and_the_analyzer_have_nothing_to_say(
    tmp_path: Path, graph: Graph, rounding: Rounding
):
    """Users build with their own warnings as errors; conversions that lose bits hide among them."""
    need("gcc")
    folder = firmware(tmp_path, graph, rounding)
    for extra in (["-fanalyzer"], ["-DTRIPTYCH_PORTABLE", "-O3"]):
        for source in sources(folder):
            call(["gcc", *STRICT, *extra, f"-I{folder}", "-c", source, "-o", tmp_path / "a.o"])


@settings(COMPILED, max_examples=5)
@given(graphs(), st.sampled_from(["tflite", "single"]))
def test_plain_c_under_sanitizers_equals_the_reference(tmp_path: Path, graph: Graph, rounding: Rounding):
    """Address and undefined-behaviour sanitizers see what a simulated board cannot."""
    need("gcc")
    images = inputs_of_size(graph, 12)
    try:
        expected = in_reals(
            graph, graph.output, run(graph, images, rounding=rounding).reshape(len(images), -1)
        )
    except UnsupportedError:
        assume(False)
        raise
    folder = Path(mkdtemp(dir=tmp_path))  # of each example: kernels of another rounding must not stay
    got = run_sanitized(firmware(folder, graph, rounding), graph, in_reals(graph, graph.input, images))
    np.testing.assert_array_equal(got, expected)


def test_reals_in_and_out_equal_litert_with_its_quantizing_edges(tmp_path: Path):
    """The header's conversions are what QUANTIZE and DEQUANTIZE compute in the whole file."""
    need("gcc")
    graph = read_tflite(with_edges())
    grid = graph[graph.input].quantization
    assert grid
    rng = np.random.default_rng(0)
    steps = rng.uniform(-140, 140, (40, *graph[graph.input].shape[1:]))
    steps[:20] = np.rint(steps[:20] * 2) / 2  # ties
    reals = (steps * grid.scale).astype(np.float32)
    interpreter = Interpreter(
        model_content=with_edges(), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    source, output = (
        part()[0]["index"] for part in (interpreter.get_input_details, interpreter.get_output_details)
    )
    expected = []
    for image in reals:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(output)[0])
    np.testing.assert_array_equal(run_sanitized(firmware(tmp_path, graph), graph, reals), np.stack(expected))


@networks
def test_cmake_builds_on_this_machine_and_tests_the_recorded_vector(
    tmp_path: Path, graph: Graph, rounding: Rounding
):
    """The first thing that a user tries; a wrong vector must fail it."""
    need("cmake", "ctest", "gcc")
    wrong = 1 - run(graph, inputs_of_size(graph, 3)[1][None], rounding=rounding)[0]
    for name, vector in (("right", None), ("wrong", wrong)):
        folder, build = firmware(tmp_path / name, graph, rounding, vector), tmp_path / name / "build"
        call(["cmake", "-S", folder, "-B", build, "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_C_FLAGS=-Werror"])
        call(["cmake", "--build", build])
        tested = subprocess.run(["ctest", "--test-dir", build], capture_output=True, check=False)
        assert (tested.returncode == 0) == (vector is None), tested.stdout.decode()


@networks
def test_the_arm_compiler_and_qemu_agree(tmp_path: Path, graph: Graph, rounding: Rounding):
    """A second compiler and a second simulator: neither clang nor unicorn is believed alone."""
    need("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
    folder, build = firmware(tmp_path, graph, rounding), tmp_path / "build"
    script = (
        (folder / "linker.ld").read_text().replace("0x08000000", "0x00000000")
    )  # where the machine has code
    (folder / "linker.ld").write_text(script)
    (folder / "exit.c").write_text(EXIT)
    cmake = (folder / "CMakeLists.txt").read_text().replace("main.c startup.c", "main.c startup.c exit.c")
    (folder / "CMakeLists.txt").write_text(cmake)
    compiler = ["-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_C_COMPILER=arm-none-eabi-gcc"]
    call(["cmake", "-S", folder, "-B", build, *compiler, "-DCMAKE_C_FLAGS=-Werror"])
    call(["cmake", "--build", build])
    machine = ["-M", "mps2-an500", "-nographic", "-monitor", "none", "-serial", "null"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    call(["qemu-system-arm", *machine, *semihosting, "-kernel", build / "firmware.elf"])
