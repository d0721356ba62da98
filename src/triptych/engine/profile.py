"""Instructions of every operator, counted on the simulated board: what the search minimises.

A table is kept as JSON, {signature: instructions}, with `graph.cost.signature` as
the key: what an operator's time depends on. The count of a network is the sum over
its operators.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from triptych.config.tiny import BoardConfig
from triptych.engine.emit import computes
from triptych.engine.firmware import write_firmware
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.engine.toolchain import build_firmware
from triptych.errors import MismatchError
from triptych.graph.cost import signature
from triptych.graph.memory import plan
from triptych.graph.ops import Add, Graph, Op, Quantization, Tensor, Weighted

RELU6 = Quantization(float(np.float32(6 / 255)), -128)
LINEAR = Quantization(0.05, 3)
SPREAD = 73  # standard deviation of a uniform int8


def instruction_table(graphs: Iterable[Graph], board: BoardConfig, *, seed: int = 0) -> dict[str, int]:
    """Instructions of each kind of operator in `graphs`, whose shapes alone are read.

    Weights and the input are random. A kind that occurs more than once counts as
    the mean: code for a few pixels more or less, and branches on data, differ.
    """
    counts: dict[str, list[int]] = {}
    for number, shapes in enumerate(graphs):
        rng = np.random.default_rng((seed, number))
        graph = with_random_weights(shapes, rng)
        image = rng.integers(-128, 128, graph[graph.input].shape[1:]).astype(np.int8)
        for op, count in profile(graph, image, board):
            counts.setdefault(signature(op, graph), []).append(count)
    return {key: round(float(np.mean(counts[key]))) for key in sorted(counts)}


def profile(
    graph: Graph, image: Int8[np.ndarray, "height width channels"], board: BoardConfig
) -> list[tuple[Op, int]]:
    """Each operator of the int8 network with the instructions that it takes for `image`.

    An operator that moves no byte takes none. Raises MismatchError where the board
    differs from the reference.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = run(graph, image[None])[0]
        write_firmware(folder, graph, board, test_input=image, test_output=expected)
        simulator = Simulator(build_firmware(folder, folder / "firmware.elf", board), board)
        if status := simulator.boot():
            raise MismatchError(f"{status} output bytes of the board's self-test differ from the reference")
        counts = simulator.profile(image)
    places = plan(graph).tensors
    ops = [op for op in graph.ops if computes(op, places)]
    assert len(counts) == len(ops), f"{len(counts)} calls for {len(ops)} operators"
    taken = {op.output: count for op, count in zip(ops, counts, strict=True)}
    return [(op, taken.get(op.output, 0)) for op in graph.ops]


def with_random_weights(graph: Graph, rng: np.random.Generator) -> Graph:
    """`graph` in int8: random weights, and scales as of a trained network, so that code is of its kind."""
    tensors = {graph.input: replace(graph[graph.input], quantization=LINEAR)}
    ops: list[Op] = []
    for op in graph.ops:
        source = _quantization(tensors[op.input])
        target = RELU6 if op.activation != "none" else _linear(op, source, rng)
        tensors[op.output] = replace(graph[op.output], quantization=target)
        ops.append(_weighted(op, source, target, rng) if isinstance(op, Weighted) else op)
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _linear(op: Op, source: Quantization, rng: np.random.Generator) -> Quantization:
    """Sums get a coarser grid, products one of their own, and all else keeps its input's."""
    if isinstance(op, Add):
        return replace(source, scale=float(np.float32(1.5 * source.scale)))
    if isinstance(op, Weighted):
        return replace(LINEAR, scale=float(np.float32(LINEAR.scale * rng.uniform(0.8, 1.2))))
    return source


def _weighted(op: Weighted, source: Quantization, target: Quantization, rng: np.random.Generator) -> Weighted:
    channels = len(op.bias)
    taps = op.weight.size // channels
    limit = 127 if op.weight_bits == 8 else 7
    factor = (
        127 / limit * 40 / (SPREAD**2 * np.sqrt(taps))
    )  # accumulators of that spread become outputs of spread 40
    return replace(
        op,
        weight=rng.integers(-limit, limit + 1, op.weight.shape).astype(np.int8),
        bias=rng.integers(-2000, 2000, channels).astype(np.int32),
        weight_scale=np.full(channels, factor * target.scale / source.scale, np.float32),
    )


def _quantization(tensor: Tensor) -> Quantization:
    assert tensor.quantization is not None
    return tensor.quantization
