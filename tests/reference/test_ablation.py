"""The ablation's variants compute the same network, and each idea is worth something on the example."""

from pathlib import Path

import numpy as np
from networks import example_graph, inputs_of_size

from benchmarks.ablation import ablate, unfused
from triptych.engine.reference import run
from triptych.report.ablation import FULL, ablation_chart


def test_every_idea_switched_off_costs_instructions_or_memory(tmp_path: Path):
    """Each variant is compared with the reference; one that changed nothing would show no idea."""
    instructions, arena = ablate(example_graph())
    least = instructions.pop("constant channels kept"), arena.pop("constant channels kept")
    assert least >= (instructions[FULL], arena[FULL])
    assert min(instructions, key=lambda name: instructions[name]) == FULL
    assert instructions["no code generation"] > 1.5 * instructions[FULL]
    assert all(size >= arena[FULL] for size in arena.values())
    assert arena["no fusion"] > arena[FULL]
    ablation_chart("example", instructions, arena, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_network_with_its_paddings_and_activations_apart_is_the_same():
    """The fusion that is switched off must be the only difference."""
    graph, images = example_graph(), inputs_of_size(example_graph(), 10)
    apart = unfused(graph)
    assert len(apart.ops) > len(graph.ops)
    np.testing.assert_array_equal(run(apart, images), run(graph, images))
