"""The compiler: its errors, its caches; the simulator: its counts."""

from pathlib import Path

import numpy as np
import pytest
from networks import example_graph
from safetensors.numpy import save

from triptych.config.tiny import BoardConfig
from triptych.engine.inputs import read_inputs
from triptych.engine.simulate import Simulator
from triptych.engine.toolchain import build_firmware, build_native
from triptych.errors import DataError, FaultError, ToolchainError

BOARD = BoardConfig(name="board", cpu="cortex_m7", sram=16 * 1024, flash=64 * 1024)
LINKER = """
MEMORY { FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 64K
         RAM (rw) : ORIGIN = 0x20000000, LENGTH = 16K }
SECTIONS { .text : { KEEP(*(.vectors)) *(.text*) . = ALIGN(4); } > FLASH
  .stack (NOLOAD) : { . += 256; __stack_top = .; } > RAM
  .bss (NOLOAD) : { __data_start = .; *(.bss*) __bss_end = .; } > RAM
  /DISCARD/ : { *(.ARM.exidx*) } }
"""
# model_run: 2 moves, 10 times (subs, bne), cmp, it, the skipped addeq, a 32-bit add, bx
PROGRAM = """
__asm__(
    ".syntax unified\\n.thumb\\n"
    ".section .vectors,\\"ax\\"\\n.word __stack_top\\n.word reset\\n"
    ".text\\n"
    ".global reset\\n.thumb_func\\nreset: movs r0, #0\\nb firmware_done\\n"
    ".global firmware_done\\n.thumb_func\\nfirmware_done: b firmware_done\\n"
    ".global model_input\\n.thumb_func\\nmodel_input: ldr r0, =0x20000200\\nbx lr\\n"
    ".global model_output\\n.thumb_func\\nmodel_output: ldr r0, =0x20000200\\nbx lr\\n.ltorg\\n"
    ".global model_run\\n.thumb_func\\nmodel_run:\\n"
    "movs r0, #10\\n movs r1, #1\\n"
    "1: subs r0, #1\\n bne 1b\\n"
    "cmp r1, #0\\n it eq\\n addeq r1, #1\\n"
    "add.w r2, r1, #1\\n bx lr\\n"
    ".global bad_read\\n.thumb_func\\nbad_read: ldr r0, =0x30000000\\n ldr r0, [r0]\\n bx lr\\n.ltorg\\n"
    ".global bad_flash\\n.thumb_func\\nbad_flash: ldr r0, =0x08000000\\n str r0, [r0]\\n bx lr\\n.ltorg\\n"
    ".global undefined\\n.thumb_func\\nundefined: udf #0\\n"
);
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "linker.ld").write_text(LINKER)
    (folder / "main.c").write_text(PROGRAM)
    return build_firmware(folder, folder / "main.elf", BOARD)


def test_instructions_are_counted_one_by_one(program: Path):
    """Against a hand count of hand-written assembly, a skipped instruction of an IT block included."""
    simulator = Simulator(program, BOARD)
    simulator.boot()
    run = simulator.run(np.zeros((3, 4), np.int8), 4)
    assert run.instructions.tolist() == [2 + 10 * 2 + 3 + 2] * 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_read", "read of 4 bytes at 0x30000000"),
        ("bad_flash", "write of 4 bytes at 0x08000000"),
        ("undefined", "faulted at pc 0x"),
    ],
)
def test_faults_say_what_and_where(program: Path, name: str, message: str):
    """An access beside flash and RAM must not pass silently, as it does on QEMU's boards."""
    simulator = Simulator(program, BOARD)
    simulator.boot()
    with pytest.raises(FaultError, match=message):
        simulator.call(name)


def test_compiler_errors_carry_the_compilers_text(tmp_path: Path):
    """Without it nobody can tell what is wrong with the generated C."""
    (tmp_path / "broken.c").write_text("int f(void) { return missing; }\n")
    with pytest.raises(ToolchainError, match="undeclared identifier 'missing'"):
        build_native(tmp_path, tmp_path / "a.so", names=["broken.c"])


def test_an_unusable_home_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Containers and CI have none; zig's own default would fail."""
    monkeypatch.setenv("HOME", "/proc/no-home")
    (tmp_path / "fine.c").write_text("int f(void) { return 1; }\n")
    assert build_native(tmp_path, tmp_path / "a.so", names=["fine.c"]).exists()


def test_test_inputs_of_another_network_are_refused(tmp_path: Path):
    """Stale files of another resolution would otherwise be read beside their end."""
    path, graph = tmp_path / "test_inputs.safetensors", example_graph()
    with pytest.raises(DataError, match="does not exist"):
        read_inputs(path, graph)
    path.write_bytes(b"junk")
    with pytest.raises(DataError, match="holds no test inputs"):
        read_inputs(path, graph)
    path.write_bytes(save({"inputs": np.zeros((2, 8, 8, 1), np.int8), "labels": np.zeros(2, np.int64)}))
    with pytest.raises(DataError, match=r"takes int8 \[n, 21, 21, 2\]"):
        read_inputs(path, graph)
