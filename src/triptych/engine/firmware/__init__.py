"""A complete bare-metal program around a network: the folder that a user takes away."""

from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from jaxtyping import Int8

from triptych.config.tiny import BoardConfig
from triptych.data.files import write_atomic
from triptych.engine.emit import emit
from triptych.errors import BoardError
from triptych.graph.cost import constant_bytes, weight_bytes
from triptych.graph.memory import plan
from triptych.graph.ops import FullyConnected, Graph
from triptych.quantization.requantize import Rounding

FLASH_ORIGIN, SRAM_ORIGIN = 0x0800_0000, 0x2000_0000  # STM32
C_CODE = 14 * 1024  # bytes of flash set aside for boot, C kernels and their constants
STACK_RESERVE = 1024  # bytes; an overflow faults, and what is used is measured
CPU_FLAGS = {
    "cortex_m4": "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard",
    "cortex_m7": "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-sp-d16 -mfloat-abi=hard",
}


def write_firmware(
    folder: Path,
    graph: Graph,
    board: BoardConfig,
    *,
    test_input: Int8[np.ndarray, "height width channels"],
    test_output: Int8[np.ndarray, "..."],
    rounding: Rounding = "tflite",
) -> None:
    """Write model, kernels, boot code, linker script, self-test and CMakeLists into `folder`."""
    here = files("triptych.engine") / "firmware"
    room = board.flash - _other_flash(graph, test_input.size + test_output.size)
    sources = {
        **emit(graph, flash=room, rounding=rounding),
        **{name: (here / name).read_text() for name in ("startup.c", "main.c")},
        "linker.ld": linker_script(board, stack=STACK_RESERVE),
        "CMakeLists.txt": _fill("CMakeLists.txt.in", cpu_flags=CPU_FLAGS[board.cpu]),
        "test_vector.h": _test_header(test_input.size, test_output.size),
        "test_vector.c": _test_source(test_input, test_output),
    }
    for name, text in sources.items():
        write_atomic(folder / name, text.encode())


def _other_flash(graph: Graph, test_vector: int) -> int:
    """Bytes of flash beside generated code: C code, dense weights, the test vector."""
    dense = sum(weight_bytes(op) for op in graph.weighted() if isinstance(op, FullyConnected))
    return C_CODE + dense + test_vector


def require_room(graph: Graph, board: BoardConfig) -> None:
    """Raise BoardError where arena and stack exceed the SRAM, or the constants alone the flash.

    The linker has the last word; this says so before anything is compiled.
    """
    needs = {"sram": plan(graph).peak + STACK_RESERVE, "flash": constant_bytes(graph)}
    for key, need in needs.items():
        limit: int = getattr(board, key)
        if need > limit:
            raise BoardError(
                f"the network needs {need} bytes of {key}, but board.{key}={limit} ({board.name}); "
                f"search again for this board or choose a larger one"
            )


def require_board(folder: Path, board: BoardConfig) -> None:
    """Raise BoardError where the firmware in `folder` was generated for another board."""
    if (folder / "linker.ld").read_text() != linker_script(board, stack=STACK_RESERVE):
        raise BoardError(
            f"{folder} was generated for another board than {board.name} with board.sram={board.sram} and "
            f"board.flash={board.flash}; run tiny_generate for this one"
        )


def linker_script(board: BoardConfig, *, stack: int) -> str:
    """The linker script with the board's flash and SRAM and `stack` bytes of stack (a multiple of 8)."""
    assert stack % 8 == 0, "the procedure call standard aligns the stack to 8 bytes"
    return _fill(
        "linker.ld.in",
        board=board.name,
        flash=board.flash,
        sram=board.sram,
        stack=stack,
        flash_origin=f"{FLASH_ORIGIN:#010x}",
        sram_origin=f"{SRAM_ORIGIN:#010x}",
    )


def _fill(name: str, **values: str | int) -> str:
    return Template((files("triptych.engine") / "firmware" / name).read_text()).substitute(values)


def _test_header(input_size: int, output_size: int) -> str:
    return (
        "/* One input and the output that the integer reference computes for it. */\n"
        "#ifndef TEST_VECTOR_H\n#define TEST_VECTOR_H\n\n#include <stdint.h>\n\n"
        f"extern const int8_t test_input[{input_size}];\nextern const int8_t test_output[{output_size}];\n\n"
        "#endif\n"
    )


def _test_source(test_input: Int8[np.ndarray, "..."], test_output: Int8[np.ndarray, "..."]) -> str:
    arrays = "\n".join(
        f"const int8_t {name}[{values.size}] = {{{', '.join(map(str, values.ravel().tolist()))}}};"
        for name, values in (("test_input", test_input), ("test_output", test_output))
    )
    return f'#include "test_vector.h"\n\n{arrays}\n'
