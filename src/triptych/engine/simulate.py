"""The firmware on a simulated Cortex-M: its memory, its instructions, its faults.

Flash is mapped read and execute, RAM exactly as large as the board's: an access
beside either stops the processor, as on hardware. Counts of instructions are
exact and repeatable; they are not cycles.
"""

import ctypes
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import unicorn
from jaxtyping import Int8, Int64
from unicorn import arm_const as arm
from unicorn.unicorn_py3.unicorn import Uc, UcError, uclib

from triptych.config.tiny import BoardConfig
from triptych.engine.elf import read_elf
from triptych.engine.firmware import FLASH_ORIGIN, SRAM_ORIGIN
from triptych.engine.toolchain import build_native
from triptych.errors import FaultError

MODEL = {"cortex_m4": arm.UC_CPU_ARM_CORTEX_M4, "cortex_m7": arm.UC_CPU_ARM_CORTEX_M7}
PAGE = 4096  # granularity of unicorn's map
SYSTEM_CONTROL = 0xE000E000  # the page of CPACR, which the boot code writes
PAINT = 0xA5
CALL_OVERHEAD = 16  # instructions of model_run before and between its calls, at most
TIME_LIMIT = 120_000_000  # microseconds for one call


@dataclass(frozen=True)
class Run:
    """What the board did with `n` inputs."""

    outputs: Int8[np.ndarray, "n size"]
    instructions: Int64[np.ndarray, " n"]
    stack: int  # bytes, the deepest since the boot


class _Counter(ctypes.Structure):
    _fields_ = (("flash", ctypes.c_char_p), ("origin", ctypes.c_uint64), ("count", ctypes.c_uint64))


class Simulator:
    """A board with the firmware `elf` in its flash, switched on by `boot`."""

    def __init__(self, elf: Path, board: BoardConfig, *, sram: int | None = None) -> None:
        """`sram` overrides the board's RAM, in whole pages of 4096 bytes; zero maps none."""
        self.image = read_elf(elf)
        self.engine = Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.engine.ctl_set_cpu_model(MODEL[board.cpu])
        self.fault = ""
        self._map(board.flash, board.sram if sram is None else sram)
        self._observe()

    def _map(self, flash: int, sram: int) -> None:
        size = _pages(flash)
        self.flash = bytearray(size)
        for address, content in self.image.segments:
            start = address - FLASH_ORIGIN
            self.flash[start : start + len(content)] = content
        self.engine.mem_map(FLASH_ORIGIN, size, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.engine.mem_write(FLASH_ORIGIN, bytes(self.flash))
        if sram:
            self.engine.mem_map(SRAM_ORIGIN, _pages(sram), unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.engine.mem_map(SYSTEM_CONTROL, PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.stack_top = self.image.symbols["__stack_top"]

    def _observe(self) -> None:
        """Count blocks natively and remember the address of an invalid access."""
        self.counter = _Counter(bytes(self.flash), FLASH_ORIGIN, 0)
        self.native = _load_counter()  # keeps the callback alive
        hook = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self.engine._uch,  # the only way to a native callback
            ctypes.byref(hook),
            unicorn.UC_HOOK_BLOCK,
            ctypes.cast(self.native.count_block, ctypes.c_void_p),
            ctypes.cast(ctypes.pointer(self.counter), ctypes.c_void_p),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        assert status == unicorn.UC_ERR_OK, f"unicorn refused the block hook ({status})"
        self.engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._remember)

    def _remember(self, engine: Any, kind: int, address: int, size: int, *_: Any) -> bool:  # noqa: ANN401
        writes = (unicorn.UC_MEM_WRITE_UNMAPPED, unicorn.UC_MEM_WRITE_PROT)
        fetches = (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT)
        verb = "write of" if kind in writes else "fetch of" if kind in fetches else "read of"
        self.fault = f"{verb} {size} bytes at {address:#010x}"
        return False

    def boot(self) -> int:
        """Switch on, run the self-test, and return how many of its output bytes differ, at most 255.

        Raises FaultError where the processor faults.
        """
        with self._explain():
            self.engine.mem_write(SRAM_ORIGIN, bytes([PAINT]) * (self.stack_top - SRAM_ORIGIN))
        stack, entry = np.frombuffer(self.flash[:8], "<u4").tolist()
        self.engine.reg_write(arm.UC_ARM_REG_SP, stack)
        return self._start(entry)

    def call(self, name: str) -> int:
        """Call the function `name` of the firmware on a fresh stack; returns r0."""
        self.engine.reg_write(arm.UC_ARM_REG_SP, self.stack_top)
        self.engine.reg_write(arm.UC_ARM_REG_LR, self.image.symbols["firmware_done"] | 1)
        return self._start(self.image.symbols[name])

    def run(self, inputs: Int8[np.ndarray, "n ..."], output_size: int) -> Run:
        """One inference for each input, after `boot`."""
        source, output = self.call("model_input"), self.call("model_output")
        outputs = np.empty((len(inputs), output_size), np.int8)
        instructions = np.empty(len(inputs), np.int64)
        for index, image in enumerate(inputs):
            self.engine.mem_write(source, image.tobytes())
            self.counter.count = 0
            self.call("model_run")
            instructions[index] = self.counter.count
            outputs[index] = np.frombuffer(self.engine.mem_read(output, output_size), np.int8)
        return Run(outputs, instructions, self.stack_used())

    def profile(self, image: Int8[np.ndarray, "..."]) -> list[int]:
        """Instructions of each call that `model_run` makes for one input, in order, after `boot`.

        The few instructions of `model_run` itself count for the call that they prepare.
        """
        start = self.image.symbols["model_run"] & ~1
        counts: list[int] = []
        hook = self.engine.hook_add(
            unicorn.UC_HOOK_CODE,
            lambda *_: counts.append(self.counter.count),
            begin=start,
            end=start + self.image.sizes["model_run"] - 1,
        )
        self.engine.ctl_flush_tb()  # what was translated without the hook
        self.engine.mem_write(self.call("model_input"), image.tobytes())
        self.counter.count = 0
        self.call("model_run")
        self.engine.hook_del(hook)
        self.engine.ctl_flush_tb()
        edges = sorted({0, *counts, self.counter.count})
        steps = np.diff(edges).tolist()
        return [step for step in steps if step > CALL_OVERHEAD]

    def stack_used(self) -> int:
        """Bytes of the painted stack that were overwritten since the boot."""
        painted = np.frombuffer(self.engine.mem_read(SRAM_ORIGIN, self.stack_top - SRAM_ORIGIN), np.uint8)
        touched = np.flatnonzero(painted != PAINT)
        return len(painted) - int(touched[0]) if len(touched) else 0

    def _start(self, address: int) -> int:
        done = self.image.symbols["firmware_done"] & ~1
        with self._explain():
            self.engine.emu_start(address | 1, done, timeout=TIME_LIMIT)
        where = self.engine.reg_read(arm.UC_ARM_REG_PC)
        if where != done:
            raise FaultError(f"the firmware ran for {TIME_LIMIT // 10**6} s without an end, at {where:#010x}")
        result = self.engine.reg_read(arm.UC_ARM_REG_R0)
        assert isinstance(result, int)
        return result

    @contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except UcError as error:
            where = self.engine.reg_read(arm.UC_ARM_REG_PC)
            what = self.fault or str(error)
            raise FaultError(
                f"the simulated processor faulted at pc {where:#010x}: {what}; the board maps "
                f"{self._describe_map()}"
            ) from None

    def _describe_map(self) -> str:
        regions = (f"{start:#010x}-{end:#010x}" for start, end, _ in self.engine.mem_regions())
        return ", ".join(regions)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _load_counter() -> ctypes.CDLL:
    """The native block counter, compiled once (the compiler caches it)."""
    with (
        as_file(files("triptych.engine") / "count_blocks.c") as source,
        tempfile.TemporaryDirectory() as folder,
    ):
        return ctypes.CDLL(str(build_native(source.parent, Path(folder) / "count.so", names=[source.name])))
