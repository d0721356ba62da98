"""Random int8 networks: every operator, odd sizes, strides, both paddings, residuals."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from triptych.graph.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Quantization,
    Requantize,
    Reshape,
    ResizeNearest,
    Softmax,
    Tensor,
    Weighted,
    output_size,
    paddings_of,
)

SPREAD = (0.004, 0.3, 1.0, 4.0)  # output scale over the natural one: saturated to barely used
ACTIVATIONS = ("none", "relu", "relu6")


class Builder:
    """Grows a network from its input, one operator at a time; `draw` makes every choice."""

    def __init__(self, draw, bits=(8, 8, 4)) -> None:
        self.draw, self.bits = draw, bits  # of weights
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        shape = (1, *(draw(st.integers(1, 11)) for _ in range(2)), draw(st.integers(1, 9)))
        self.tensors = {"input": Tensor("input", shape, self.quantization(0.02))}
        self.ops = []
        self.last = "input"

    def choose(self, *values):
        return self.draw(st.sampled_from(values))

    def quantization(self, scale: float) -> Quantization:
        zero_point = self.choose(-128, 127, 0, int(self.rng.integers(-128, 128)))
        return Quantization(float(np.float32(scale)), zero_point)

    def shape(self) -> tuple[int, ...]:
        return self.tensors[self.last].shape

    def scale(self, name: str) -> float:
        quantization = self.tensors[name].quantization
        assert quantization
        return quantization.scale

    def emit(self, kind, shape, quantization, /, **fields):
        name = f"t{len(self.ops)}"
        self.tensors[name] = Tensor(name, shape, quantization)
        self.ops.append(kind(name=f"op{len(self.ops)}", input=self.last, output=name, **fields))
        self.last = name

    def window(self, *, explicit: bool = True):
        """Kernel, stride and padding that fit the current tensor, and the output's height and width."""
        amounts = tuple(tuple(self.draw(st.integers(0, 3)) for _ in range(2)) for _ in range(2))
        padding = self.choose("same", "valid", *([amounts] if explicit else []))
        sizes = self.shape()[1:3]
        limit = [5 if padding == "same" else min(5, size) for size in sizes]
        kernel = tuple(self.draw(st.integers(1, n)) for n in limit)
        stride = self.choose((1, 1), (2, 2), (1, 2), (3, 1))
        pairs = paddings_of(sizes, kernel, stride, padding)
        out = tuple(output_size(*each) for each in zip(sizes, kernel, stride, pairs, strict=True))
        return kernel, stride, padding, out

    def weights(self, shape, channels, taps):
        """Weights, bias, scales, and the output scale that suits them."""
        bits = self.choose(*self.bits)
        low, high = (-127, 127) if bits == 8 else (-8, 7)
        weight = self.rng.integers(low, high + 1, shape).astype(np.int8)
        natural = self.rng.uniform(0.01, 0.1)  # what one step of the output is worth
        weight_scale = self.rng.uniform(0.1, 1, channels)
        weight_scale *= 10.0 ** -self.rng.integers(0, 4, channels)
        spread = 73 * high / 127 * math.sqrt(taps)
        weight_scale *= natural / (self.scale(self.last) * spread * weight_scale.max())
        weight_scale = weight_scale.astype(np.float32)
        bias = self.rng.integers(-3000, 3000, channels).astype(np.int32)
        fields = {"weight": weight, "bias": bias, "weight_scale": weight_scale, "weight_bits": bits}
        return fields, natural

    def conv(self):
        (kh, kw), stride, padding, (height, width) = self.window()
        cin, cout = self.shape()[3], self.draw(st.integers(1, 9))
        self.convolve((kh, kw), stride, padding, (1, height, width, cout), cin)

    def convolve(self, kernel, stride, padding, shape, cin):
        fields, natural = self.weights((shape[3], *kernel, cin), shape[3], math.prod(kernel) * cin)
        self.emit(
            Conv2D,
            shape,
            self.quantization(natural * self.choose(*SPREAD)),
            stride=stride,
            padding=padding,
            activation=self.choose(*ACTIVATIONS),
            **fields,
        )

    def depthwise(self):
        kernel, stride, padding, out = self.window()
        channels = self.shape()[3]
        fields, natural = self.weights((1, *kernel, channels), channels, math.prod(kernel))
        self.emit(
            DepthwiseConv2D,
            (1, *out, channels),
            self.quantization(natural * self.choose(*SPREAD)),
            stride=stride,
            padding=padding,
            activation=self.choose(*ACTIVATIONS),
            **fields,
        )

    def pool(self):
        window, stride, padding, out = self.window(explicit=False)
        self.emit(
            self.choose(AveragePool2D, MaxPool2D),
            (1, *out, self.shape()[3]),
            self.tensors[self.last].quantization,
            window=window,
            stride=stride,
            padding=padding,
            activation=self.choose(*ACTIVATIONS),
        )

    def mean(self):
        axes = self.choose((1,), (2,), (1, 2))
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(self.shape()))
        quantization = self.choose(
            self.tensors[self.last].quantization,
            self.quantization(self.scale(self.last) * self.choose(0.3, 0.7, 1.1)),
        )
        self.emit(Mean, shape, quantization, axes=axes)

    def move(self, kind, to, **fields):
        self.emit(kind, to, self.tensors[self.last].quantization, **fields)

    def pad(self):
        """Without a value of its own and without channels it would read back as part of a convolution."""
        amounts = tuple(tuple(self.draw(st.integers(0, 2)) for _ in range(2)) for _ in range(3))
        shape = tuple(size + sum(pair) for size, pair in zip(self.shape()[1:], amounts, strict=True))
        value = self.draw(st.integers(-128, 127)) if amounts[2] == (0, 0) else None
        self.move(Pad, (1, *shape), amounts=amounts, value=value)

    def resize(self):
        size = tuple(self.draw(st.integers(1, 12)) for _ in range(2))
        how = self.choose((False, False), (True, False), (False, True))
        flags = {"align_corners": how[0], "half_pixel_centers": how[1]}
        self.move(ResizeNearest, (1, *size, self.shape()[3]), size=size, **flags)

    def reshape(self):
        _, height, width, channels = self.shape()
        shape = self.choose((1, width, height, channels), (1, 1, height * width, channels))
        self.move(Reshape, shape, shape=shape)

    def requantize(self):
        scale = self.scale(self.last) * self.choose(0.1, 0.7, 1.0, 2.3)
        self.emit(Requantize, self.shape(), self.quantization(scale))

    def softmax(self):
        self.emit(Softmax, self.shape(), Quantization(1 / 256, -128), beta=self.choose(1.0, 0.5, 3.0))

    def add(self):
        partners = [name for name, tensor in self.tensors.items() if tensor.shape == self.shape()]
        other = self.choose(*partners)
        scale = sum(self.scale(name) for name in (self.last, other))
        self.emit(
            Add,
            self.shape(),
            self.quantization(scale * self.choose(0.1, 0.7, 2.0)),
            other=other,
            activation=self.choose(*ACTIVATIONS),
        )

    def residual(self):
        start = self.last
        self.convolve((1, 1), (1, 1), "same", self.shape(), self.shape()[3])
        self.emit(
            Add,
            self.shape(),
            self.quantization(self.scale(self.last) * 1.5),
            other=start,
            activation="none",
        )

    def classify(self):
        features, classes = math.prod(self.shape()), self.draw(st.integers(1, 10))
        keep = math.prod(self.shape()[:-1]) == 1 and self.draw(st.booleans())
        fields, natural = self.weights((classes, features), classes, features)
        if self.draw(st.booleans()):
            fields["weight_scale"] = fields["weight_scale"][:1]
        self.emit(
            FullyConnected,
            (1, 1, 1, classes) if keep else (1, classes),
            self.quantization(natural * self.choose(*SPREAD)),
            keep_dims=keep,
            activation=self.choose(*ACTIVATIONS),
            **fields,
        )


STEPS = (
    Builder.conv,
    Builder.depthwise,
    Builder.pool,
    Builder.mean,
    Builder.add,
    Builder.residual,
    Builder.pad,
    Builder.resize,
    Builder.reshape,
    Builder.requantize,
    Builder.softmax,
)


@st.composite
def graphs(draw, max_steps: int = 6, steps=STEPS, bits=(8, 8, 4)) -> Graph:
    """Networks of one to `max_steps` of `steps`, with or without a classifier at the end."""
    builder = Builder(draw, bits)
    for step in draw(st.lists(st.sampled_from(steps), min_size=1, max_size=max_steps)):
        step(builder)
    if draw(st.booleans()):
        builder.classify()
        if Builder.softmax in steps and draw(st.booleans()):
            builder.softmax()
    return Graph("input", builder.last, builder.tensors, tuple(builder.ops))


def inputs_of_size(graph: Graph, n: int, seed: int = 0) -> np.ndarray:
    """`n` int8 inputs that cover the whole range, smooth and extreme ones among them."""
    rng = np.random.default_rng(seed)
    shape = (n, *graph[graph.input].shape[1:])
    noise = rng.normal(rng.uniform(-60, 60, (n, 1, 1, 1)), rng.uniform(5, 90, (n, 1, 1, 1)), shape)
    images = np.clip(np.rint(noise), -128, 127).astype(np.int8)
    images[0], images[-1] = -128, 127
    return images


def example_graph(seed: int = 0) -> Graph:
    """One fixed network with every operator: stem, inverted bottleneck with residual, pool, classifier."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, Tensor] = {}
    ops = []

    def tensor(name, shape, scale, zero_point):
        tensors[name] = Tensor(name, shape, Quantization(float(np.float32(scale)), zero_point))
        return name

    def fields(shape, channels, taps):
        return {
            "weight": rng.integers(-127, 128, shape).astype(np.int8),
            "bias": rng.integers(-2000, 2000, channels).astype(np.int32),
            "weight_scale": rng.uniform(0.5, 1, channels).astype(np.float32) / np.float32(73 * taps**0.5),
        }

    x = tensor("image", (1, 21, 21, 2), 0.05, -3)
    stem = tensor("stem", (1, 11, 11, 8), 0.05, -128)
    ops.append(Conv2D("stem", x, stem, **fields((8, 3, 3, 2), 8, 18), stride=(2, 2), activation="relu6"))
    wide = tensor("wide", (1, 11, 11, 24), 0.05, -128)
    ops.append(Conv2D("expand", stem, wide, **fields((24, 1, 1, 8), 24, 8), activation="relu"))
    deep = tensor("deep", (1, 11, 11, 24), 0.05, 7)
    ops.append(DepthwiseConv2D("depthwise", wide, deep, **fields((1, 3, 3, 24), 24, 9)))
    thin = tensor("thin", (1, 11, 11, 8), 0.06, 11)
    ops.append(Conv2D("project", deep, thin, **fields((8, 1, 1, 24), 8, 24)))
    total = tensor("sum", (1, 11, 11, 8), 0.08, -20)
    ops.append(Add("add", thin, stem, total))
    mean = tensor("mean", (1, 1, 1, 8), 0.08, -20)
    ops.append(AveragePool2D("pool", total, mean, (11, 11), (1, 1)))
    logits = tensor("logits", (1, 5), 0.05, 0)
    ops.append(FullyConnected("classifier", mean, logits, **fields((5, 8), 5, 8)))
    return Graph(x, logits, tensors, tuple(ops))


def in_four_bits(graph: Graph) -> Graph:
    """`graph` with its weights divided by 16, their scales as much larger."""

    def divided(op: Op) -> Op:
        if not isinstance(op, Weighted):
            return op
        assert op.weight_scale is not None
        weight = np.clip(np.rint(op.weight.astype(float) / 16), -8, 7).astype(np.int8)
        return replace(op, weight=weight, weight_scale=16 * op.weight_scale, weight_bits=4)

    return replace(graph, ops=tuple(map(divided, graph.ops)))


def moving_graph() -> Graph:
    """One fixed network of what `example_graph` lacks: pools, means, moves, rescaling, softmax."""
    grid, chances = Quantization(0.0625, -7), Quantization(1 / 256, -128)
    shapes = {
        "image": ((1, 9, 8, 3), grid),
        "wide": ((1, 12, 9, 5), grid),
        "small": ((1, 6, 5, 5), grid),
        "large": ((1, 7, 11, 5), grid),
        "flat": ((1, 1, 77, 5), grid),
        "chances": ((1, 1, 77, 5), chances),
        "fine": ((1, 1, 77, 5), Quantization(1 / 200, -90)),
        "sum": ((1, 1, 77, 5), Quantization(1 / 128, -100)),
        "mean": ((1, 1, 1, 5), Quantization(1 / 150, -100)),
    }
    tensors = {name: Tensor(name, shape, quantization) for name, (shape, quantization) in shapes.items()}
    ops = (
        Pad("pad", "image", "wide", ((1, 2), (0, 1), (0, 2)), 17),
        MaxPool2D("pool", "wide", "small", (3, 2), (2, 2), "same"),
        ResizeNearest("resize", "small", "large", (7, 11), half_pixel_centers=True),
        Reshape("reshape", "large", "flat", (1, 1, 77, 5)),
        Softmax("softmax", "flat", "chances"),
        Requantize("requantize", "chances", "fine"),
        Add("add", "fine", "chances", "sum"),
        Mean("mean", "sum", "mean", (1, 2)),
    )
    return Graph("image", "mean", tensors, ops)
