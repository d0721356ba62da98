"""The generated firmware stays in its memory: every access, and the deepest stack."""

from pathlib import Path

import pytest
import unicorn
from edges import with_edges
from networks import example_graph, inputs_of_size, moving_graph

from triptych.config.tiny import BoardConfig
from triptych.engine.firmware import FLASH_ORIGIN, linker_script, write_firmware
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.engine.stack import stack_bound
from triptych.engine.toolchain import BARE, CPU, build_firmware, compile_c
from triptych.errors import UnsupportedError
from triptych.graph.memory import plan
from triptych.graph.ops import Graph
from triptych.graph.tflite import read_tflite

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)
NETWORKS = {"example": example_graph(), "moving": moving_graph(), "edges": read_tflite(with_edges())}
RECURSIVE = """volatile int n;
int f(int m) { if (!n) return m; n--; return f(m) * f(n) + n; }
void reset(void) { n = f(n); }"""
POINTER = "int (*volatile f)(void); void reset(void) { f(); }"
SIZED = "volatile int n; void reset(void) { volatile char a[n]; a[0] = 0; n = a[0]; }"


def build(folder: Path, graph: Graph) -> Path:
    image = inputs_of_size(graph, 3)[1]
    write_firmware(folder / "f", graph, BOARD, test_input=image, test_output=run(graph, image[None])[0])
    return build_firmware(folder / "f", folder / "a.elf", BOARD)


@pytest.mark.parametrize("graph", NETWORKS.values(), ids=NETWORKS)
def test_no_access_beside_arena_stack_and_flash(tmp_path: Path, graph: Graph):
    """Random inputs, all -128 and all 127: a page fault alone would miss a byte beyond."""
    simulator = Simulator(build(tmp_path, graph), BOARD)
    assert simulator.boot() == 0
    arena = simulator.image.symbols["model_arena"]
    allowed = [
        (FLASH_ORIGIN, FLASH_ORIGIN + simulator.image.flash),
        (arena, arena + plan(graph).peak),
        (simulator.stack_top - stack_bound(tmp_path / "a.elf"), simulator.stack_top),
    ]
    beside: set[tuple[int, int]] = set()

    def watch(_engine, _kind, address, size, *_):
        if not any(low <= address and address + size <= high for low, high in allowed):
            beside.add((address, size))

    simulator.engine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, watch)
    simulator.engine.ctl_flush_tb()
    images = inputs_of_size(graph, 4)
    assert (images[0] == -128).all()
    assert (images[-1] == 127).all()
    simulator.run(images, graph[graph.output].size)
    assert not beside


@pytest.mark.parametrize("graph", NETWORKS.values(), ids=NETWORKS)
def test_stack_bound_holds_and_is_close(tmp_path: Path, graph: Graph):
    """A bound below what was measured would be wrong, one far above it useless."""
    elf = build(tmp_path, graph)
    simulator = Simulator(elf, BOARD)
    simulator.boot()
    simulator.run(inputs_of_size(graph, 4), graph[graph.output].size)
    assert simulator.stack_used() <= stack_bound(elf) <= simulator.stack_used() + 64


@pytest.mark.parametrize(
    ("source", "reason"),
    [(RECURSIVE, "recursion"), (POINTER, "no bound: b"), (SIZED, "no bound: mov")],
    ids=["recursive", "pointer", "sized"],
)
def test_code_without_a_bound_is_refused(tmp_path: Path, source: str, reason: str):
    """A proof that could not say no would prove nothing."""
    (tmp_path / "a.c").write_text(source)
    (tmp_path / "linker.ld").write_text(linker_script(BOARD, stack=1024))
    flags = [*BARE, f"-mcpu={CPU[BOARD.cpu]}", "-T", str(tmp_path / "linker.ld"), "-Wno-everything"]
    elf = compile_c(tmp_path, tmp_path / "a.elf", flags)
    with pytest.raises(UnsupportedError, match=reason):
        stack_bound(elf)
