"""Instructions of each operator, and what their sum predicts for networks that were never run."""

from dataclasses import replace

import numpy as np
from networks import example_graph, inputs_of_size
from subnets import SPACE

from triptych.config.tiny import BoardConfig
from triptych.engine.firmware import write_firmware
from triptych.engine.profile import instruction_table, profile, with_random_weights
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.engine.toolchain import build_firmware
from triptych.graph.ops import Graph
from triptych.tiny.export import shape_graph
from triptych.tiny.latency import covering, instructions

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)


def count(tmp_path, graph: Graph, image: np.ndarray) -> int:
    """Instructions of one inference, by the counter that `tiny_measure` reports."""
    folder = tmp_path / "firmware"
    output = run(graph, image[None])[0]
    write_firmware(folder, graph, BOARD, test_input=image, test_output=output)
    simulator = Simulator(build_firmware(folder, tmp_path / "a.elf", BOARD), BOARD)
    assert simulator.boot() == 0
    return int(simulator.run(image[None], output.size).instructions[0])


def test_operators_add_up_to_the_inference(tmp_path):
    """A call that is missed or counted twice would send the search after the wrong layers."""
    graph = example_graph()
    image = inputs_of_size(graph, 3)[1]
    counts = profile(graph, image, BOARD)
    assert [op for op, _ in counts] == list(graph.ops)
    assert min(n for _, n in counts) > 0
    assert 0 <= count(tmp_path, graph, image) - sum(n for _, n in counts) < 30


def test_sum_of_a_table_predicts_a_network_that_was_never_run(tmp_path):
    """Within 3 % is promised; the mixed subnet has other weights and scales, and blocks of both tables."""
    space = replace(SPACE, kernel_sizes=(3,), expand_ratios=SPACE.expand_ratios[:2])
    table = instruction_table((shape_graph(space, arch) for arch in covering(space)), BOARD)
    rng = np.random.default_rng(7)
    arch = next(arch for arch in iter(lambda: space.random(rng), None) if arch not in covering(space))
    graph = with_random_weights(shape_graph(space, arch), rng)
    image = inputs_of_size(graph, 3)[1]
    assert abs(instructions(graph, table) / count(tmp_path, graph, image) - 1) < 0.03
