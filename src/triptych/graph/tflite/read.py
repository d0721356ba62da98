# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""From the content of a `.tflite` file to a network, or to an error that says what is missing."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.errors import DataError, UnsupportedError
from triptych.graph.ops import Conv2D, DepthwiseConv2D, Graph, Mean, Op, Pair, Tensor
from triptych.graph.tflite.edges import cut_edges
from triptych.graph.tflite.operators import READERS, read_padding
from triptych.graph.tflite.parse import parse
from triptych.graph.tflite.source import Axes, Source
from triptych.graph.tflite.tables import CODE, CODES, IDENTIFIER, OPTIONS_OF, PADDING, Node
from triptych.graph.validate import validate

CONVOLUTIONS = (CODE.CONV_2D, CODE.DEPTHWISE_CONV_2D)
OPTIONAL = (CODE.RESHAPE, CODE.QUANTIZE, CODE.PAD, CODE.PADV2)  # need no options
# what offsets and indices that point nowhere raise inside the generated parser and here
MALFORMED = (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)


def read_tflite(content: bytes) -> Graph:
    """The network in the content of a `.tflite` file.

    Raises DataError where it is not a valid file, UnsupportedError that names
    operator and tensor where it is more than the engine implements. Constants are
    views of `content`; time and memory are in proportion to its length.
    """
    if content[4:8] != IDENTIFIER:
        raise DataError(f"not a .tflite file: bytes 4 to 7 are {content[4:8]!r}, expected {IDENTIFIER!r}")
    try:
        model, budget = parse(content)
        cut_edges(model)
        graph = _Reader(Source(model, budget)).graph()
    except MALFORMED as error:
        raise DataError(f"a corrupt .tflite file ({error}); write it again") from error
    return validate(graph)


def read_tflite_file(path: Path) -> Graph:
    """The network in a `.tflite` file; errors name the file."""
    try:
        return read_tflite(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro` to make it") from error
    except (DataError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error}") from error


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.pads: dict[
            int, tuple[Pair, Pair]
        ] = {}  # tensors whose border the convolutions that read them make
        self.ops: list[Op] = []
        self.tensors: dict[str, Tensor] = {}

    def graph(self) -> Graph:
        main, source = self.source.main, self.source
        for way in ("inputs", "outputs"):
            if len(getattr(main, way)) != 1:
                raise UnsupportedError(f"{len(getattr(main, way))} {way}; the engine runs networks with one")
        first, last = int(main.inputs[0]), int(main.outputs[0])
        if min(first, last) < 0:
            raise DataError("the network's input or output is no tensor")
        self.tensors[source.names[first]] = source.activation(first, "the network")
        written = {first}
        for operator in main.operators:
            output = int(operator.outputs[0])
            if output in written or output < 0:
                raise DataError(f"tensor {source.names[output]!r} is written twice or is the input")
            written.add(output)
            self.read(operator)
        source.require_plain(last, "the network's output")
        if not self.ops:
            raise UnsupportedError("the network has no int8 operator")
        return Graph(source.names[first], source.names[last], self.tensors, tuple(self.ops))

    def read(self, operator: Node) -> None:
        """Add an operator to the graph, or find that it moves nothing."""
        code, output = self.source.code(operator), int(operator.outputs[0])
        name = self.source.names[output]
        if code == CODE.TRANSPOSE:
            self.transpose(operator)
        elif code == CODE.PAD and self.is_folded(operator):
            rows, columns, _ = read_padding(self.source, operator, name)
            self.pads[output] = rows, columns
            self.rename(operator)
        elif code == CODE.RESHAPE and self.is_flattening(operator):
            self.rename(operator)
        else:
            self.add(self.operator(code, operator, name), output)

    def rename(self, operator: Node) -> None:
        source, output = self.source.input(operator, 0), int(operator.outputs[0])
        self.source.require_plain(source, self.source.names[output])
        self.source.names[output] = self.source.names[source]

    def operator(self, code: int, operator: Node, name: str) -> Op:
        if code not in READERS:
            kind = {v: k for k, v in vars(CODE).items()}.get(code, code)
            known = ", ".join(sorted({kind.__name__ for kind in CODES}))
            raise UnsupportedError(f"operator {kind} (writes {name!r}) is not implemented; known: {known}")
        expected, options = OPTIONS_OF[code], operator.builtinOptionsType
        if options != expected and (options or code not in OPTIONAL):
            raise DataError(f"operator {name!r} has options of another operator ({options}, not {expected})")
        source = self.source.input(operator, 0)
        if code != CODE.MEAN:
            for index in self.source.activations(operator, code):
                self.source.require_plain(index, name)
        common: dict[str, Any] = {"name": name, "input": self.source.names[source], "output": name}
        op = READERS[code](self.source, operator, common)
        if isinstance(op, Conv2D | DepthwiseConv2D) and source in self.pads:
            op = replace(op, padding=self.pads[source])
        return op

    def add(self, op: Op, output: int) -> None:
        tensor = self.source.activation(output, op.name)
        if isinstance(op, Mean):
            tensor = replace(tensor, shape=_averaged(self.tensors[op.input], op.axes))
        self.ops.append(op)
        self.tensors[op.output] = tensor

    def is_folded(self, operator: Node) -> bool:
        """Whether a PAD can become part of the convolutions that read it: all are VALID."""
        name = self.source.names[int(operator.outputs[0])]
        rows_columns_channels = read_padding(self.source, operator, name)
        before, after = (
            self.source.activation(int(indices[0]), name).quantization
            for indices in (operator.inputs, operator.outputs)
        )
        readers = self.source.readers.get(int(operator.outputs[0]), [])
        return (
            before == after
            and rows_columns_channels[2] == (0, 0)
            and len(readers) > 0
            and all(self.source.code(reader) in CONVOLUTIONS for reader in readers)
            and all(reader.builtinOptions.padding == PADDING["valid"] for reader in readers)
            and operator.outputs[0] not in self.source.main.outputs
        )

    def is_flattening(self, operator: Node) -> bool:
        """Whether only matrix products read a reshape, which flatten by themselves."""
        source, output = self.source.input(operator, 0), int(operator.outputs[0])
        name = self.source.names[output]
        before, after = self.source.activation(source, name), self.source.activation(output, name)
        readers = self.source.readers.get(output, [])
        return (
            before.quantization == after.quantization
            and after.shape == (1, before.size)
            and len(readers) > 0
            and all(self.source.code(reader) == CODE.FULLY_CONNECTED for reader in readers)
            and operator.outputs[0] not in self.source.main.outputs
        )

    def transpose(self, operator: Node) -> None:
        """Another order of the axes moves no byte where a mean follows, which names its axes."""
        source, output = self.source.input(operator, 0), int(operator.outputs[0])
        name, layout = self.source.names[output], self.source.layout(source)
        order = self.source.integers(operator, 1, name)
        if sorted(order) != list(range(len(layout))):
            raise DataError(f"operator {name!r} transposes {order}, not the axes of its input")
        shape = self.source.shape(source)
        if self.source.shape(output) != tuple(shape[axis] for axis in order):
            raise DataError(
                f"operator {name!r} declares {list(self.source.shape(output))}, not its input's axes"
            )
        self.source.layouts[output] = tuple(layout[axis] for axis in order)
        self.source.names[output] = self.source.names[source]


def _averaged(source: Tensor, axes: Axes) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(source.shape))
