"""Every form of generated code against the integer reference, on shapes that real networks have."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from networks import inputs_of_size

from triptych.config.tiny import BoardConfig
from triptych.engine import emit as emit_module
from triptych.engine import firmware as firmware_module
from triptych.engine.firmware import write_firmware
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.engine.thumb.layers import Kernel, emitted, kernels_of
from triptych.engine.toolchain import build_firmware
from triptych.graph.ops import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    Op,
    Quantization,
    Tensor,
    output_size,
    paddings_of,
)
from triptych.quantization.requantize import Rounding

BOARD = BoardConfig(name="stm32f746", cpu="cortex_m7", sram=320 * 1024, flash=1024 * 1024)


class Chain:
    """A random network of layers that all have generated code: odd sizes, any padding, large kernels."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        height, width = (int(n) for n in self.rng.integers(1, 31, 2))
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.last = self.tensor((1, height, width, self.choose(1, 3, 4, 5, 8, 16)))
        for _ in range(4):
            self.choose(self.pointwise, self.pointwise, self.convolution, self.depthwise, self.depthwise)()
        if self.rng.random() < 0.5:
            self.residual()

    def choose(self, *values):
        return values[int(self.rng.integers(len(values)))]

    def graph(self) -> Graph:
        return Graph("t0", self.last, self.tensors, tuple(self.ops))

    def tensor(self, shape: tuple[int, ...]) -> str:
        name = f"t{len(self.tensors)}"
        zero_point = self.choose(-128, -128, 0, 127, int(self.rng.integers(-128, 128)))
        self.tensors[name] = Tensor(name, shape, Quantization(float(np.float32(0.05)), zero_point))
        return name

    def window(self, kernel: tuple[int, int]):
        stride = self.choose((1, 1), (1, 1), (2, 2), (1, 2))
        amounts = tuple((int(a), int(b)) for a, b in self.rng.integers(0, 4, (2, 2)))
        sizes = self.tensors[self.last].shape[1:3]
        fits = all(k <= n for k, n in zip(kernel, sizes, strict=True))
        padding = self.choose("same", *(["valid", amounts] if fits else []))
        pairs = paddings_of(sizes, kernel, stride, padding)
        output = tuple(output_size(*each) for each in zip(sizes, kernel, stride, pairs, strict=True))
        return {"stride": stride, "padding": padding}, output

    def add(self, kind, shape: tuple[int, ...], weight_shape: tuple[int, ...], taps: int, **fields) -> None:
        channels, source = shape[3], self.last
        self.last = self.tensor(shape)
        low, high, bits = self.choose((-127, 127, 8), (-127, 127, 8), (-8, 7, 4))
        scale = (
            self.rng.uniform(0.2, 1, channels) * self.choose(0.3, 1, 1) / (73 * high / 127 * math.sqrt(taps))
        )
        self.ops.append(
            kind(
                name=self.last,
                input=source,
                output=self.last,
                weight=self.rng.integers(low, high + 1, weight_shape).astype(np.int8),
                weight_bits=bits,
                bias=self.rng.integers(-3000, 3000, channels).astype(np.int32),
                weight_scale=scale.astype(np.float32),
                activation=self.choose("none", "relu", "relu6"),
                **fields,
            )
        )

    def pointwise(self) -> None:
        _, height, width, inputs = self.tensors[self.last].shape
        outputs = self.choose(1, 2, 7, 8, 24, 65)
        self.add(Conv2D, (1, height, width, outputs), (outputs, 1, 1, inputs), inputs)

    def convolution(self) -> None:
        kernel = (self.choose(1, 2, 3, 4), self.choose(1, 3, 3, 5))
        fields, (height, width) = self.window(kernel)
        inputs, outputs = self.tensors[self.last].shape[3], self.choose(3, 8, 17)
        shape = (outputs, *kernel, inputs)
        self.add(Conv2D, (1, height, width, outputs), shape, math.prod(shape[1:]), **fields)

    def depthwise(self) -> None:
        kernel = (self.choose(1, 2, 3, 3, 5, 7), self.choose(1, 3, 3, 4, 5, 7))
        fields, (height, width) = self.window(kernel)
        channels = self.tensors[self.last].shape[3]
        self.add(
            DepthwiseConv2D, (1, height, width, channels), (1, *kernel, channels), math.prod(kernel), **fields
        )

    def residual(self) -> None:
        source, shape = self.last, self.tensors[self.last].shape
        self.add(Conv2D, shape, (shape[3], 1, 1, shape[3]), shape[3])
        other, self.last = self.last, self.tensor(shape)
        self.ops.append(Add(self.last, source, other, self.last, self.choose("none", "relu")))


def measure(
    graph: Graph,
    kernels: dict[str, Kernel],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    rounding: Rounding,
):
    """Outputs and instructions on the board, and outputs of the reference."""
    chosen = partial(emit_module.emit, scheduler=lambda *_, **__: kernels)
    monkeypatch.setattr(firmware_module, "emit", chosen)
    images = inputs_of_size(graph, 4)
    expected = run(graph, images, rounding=rounding)
    write_firmware(folder, graph, BOARD, test_input=images[0], test_output=expected[0], rounding=rounding)
    simulator = Simulator(build_firmware(folder, folder / "a.elf", BOARD), BOARD)
    assert simulator.boot() == 0
    result = simulator.run(images, graph[graph.output].size)
    return result, expected.reshape(result.outputs.shape)


FORMS = [*((seed, "tflite") for seed in range(6)), (6, "single"), (7, "single")]


@pytest.mark.parametrize(("seed", "rounding"), FORMS)
def test_random_forms_equal_the_reference_and_their_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, rounding: Rounding
):
    """The schedule takes one form of many: each must be exact, and cost what the schedule believes."""
    chain = Chain(seed)
    graph = chain.graph()
    backwards = emit_module.plan(graph).backwards
    forms = {
        op.output: kernels_of(graph, op, backwards=op.output in backwards, rounding=rounding)
        for op in graph.ops
    }
    kernels = {name: chain.choose(*each) for name, each in forms.items() if each}
    result, expected = measure(graph, kernels, tmp_path, monkeypatch, rounding)
    np.testing.assert_array_equal(result.outputs, expected)
    if len(kernels) == len(graph.ops):
        predicted = sum(emitted(kernel)[0] for kernel in kernels.values())
        assert predicted == pytest.approx(result.instructions.max(), rel=0.05, abs=100)
