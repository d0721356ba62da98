# pyright: standard
# (the flatbuffers schema that ai-edge-litert ships has no types)
"""From bytes to the schema's objects, with work and memory in proportion to the file.

The schema's own unpacking follows every offset: a vector of tables that all point
to one large table makes a small file take hours and gigabytes. Here vectors stay
views of the file, and what must be walked is paid from a budget.
"""

from ai_edge_litert import schema_py_generated as schema

from triptych.errors import DataError, UnsupportedError
from triptych.graph.tflite.tables import OPTIONS_READ, Node

MAX_TENSORS, MAX_OPERATORS = 1 << 14, 1 << 12
SHARING = 8  # how often an honest file refers to one byte: vectors and buffers may be shared
NAME_FIELD = 10  # of the table Tensor in the schema


class Budget:
    """What may still be read: honest files point to each of their bytes a few times."""

    def __init__(self, content: bytes) -> None:
        self.left = SHARING * len(content)

    def take(self, count: int) -> None:
        """Pay for `count` elements; raises DataError when a file refers to more than it can hold."""
        self.left -= count
        if self.left < 0:
            raise DataError("a corrupt .tflite file (its parts are longer than the file); write it again")


def parse(content: bytes) -> tuple[Node, Budget]:
    """The model in `content` without metadata and signatures, and what is left of its budget.

    Raises DataError, UnsupportedError, or one of `MALFORMED` where offsets point nowhere.
    """
    root, budget = schema.Model.GetRootAs(content, 0), Budget(content)
    if root.SubgraphsLength() != 1:
        raise UnsupportedError(f"{root.SubgraphsLength()} subgraphs; the engine runs exactly one")
    budget.take(root.OperatorCodesLength())
    model: Node = schema.ModelT()
    model.operatorCodes = [
        schema.OperatorCodeT.InitFromObj(root.OperatorCodes(i)) for i in range(root.OperatorCodesLength())
    ]
    model.buffers = _Buffers(root)
    model.subgraphs = [_subgraph(root.Subgraphs(0), budget)]
    return model, budget


class _Buffers:
    """Constant data by number, as views of the file."""

    def __init__(self, root: Node) -> None:
        self.root = root

    def __getitem__(self, index: int) -> Node:
        if not 0 <= index < self.root.BuffersLength():
            raise IndexError(f"buffer {index} of {self.root.BuffersLength()}")
        buffer = self.root.Buffers(index)
        made = schema.BufferT()
        made.data = None if buffer.DataIsNone() else buffer.DataAsNumpy()
        return made


def _subgraph(source: Node, budget: Budget) -> Node:
    for kind, count, limit in (
        ("tensors", source.TensorsLength(), MAX_TENSORS),
        ("operators", source.OperatorsLength(), MAX_OPERATORS),
    ):
        if count > limit:
            raise UnsupportedError(f"{count} {kind}; the engine reads networks with up to {limit}")
    made = schema.SubGraphT()
    made.tensors = [_tensor(source.Tensors(i), budget) for i in range(source.TensorsLength())]
    made.operators = [_operator(source.Operators(i), budget) for i in range(source.OperatorsLength())]
    made.inputs, made.outputs = (_vector(source, way, budget) for way in ("Inputs", "Outputs"))
    return made


def _tensor(source: Node, budget: Budget) -> Node:
    made = schema.TensorT()
    made.shape = _vector(source, "Shape", budget)
    made.type, made.buffer, made.isVariable = source.Type(), source.Buffer(), source.IsVariable()
    made.sparsity = source.Sparsity()  # its presence matters, not its content
    made.externalBuffer = source.ExternalBuffer()
    if offset := source._tab.Offset(NAME_FIELD):  # Name() would copy it, however long
        budget.take(source._tab.VectorLen(offset))
        made.name = source.Name()
    if (quantization := source.Quantization()) is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = _vector(quantization, "Scale", budget)
        made.quantization.zeroPoint = _vector(quantization, "ZeroPoint", budget)
        made.quantization.quantizedDimension = quantization.QuantizedDimension()
    return made


def _operator(source: Node, budget: Budget) -> Node:
    made = schema.OperatorT()
    made.opcodeIndex = source.OpcodeIndex()
    made.inputs, made.outputs = (_vector(source, way, budget) for way in ("Inputs", "Outputs"))
    made.builtinOptionsType = source.BuiltinOptionsType()
    if made.builtinOptionsType in OPTIONS_READ and source.BuiltinOptions() is not None:
        made.builtinOptions = schema.BuiltinOptionsCreator(made.builtinOptionsType, source.BuiltinOptions())
    return made


def _vector(source: Node, name: str, budget: Budget) -> Node:
    """A vector of numbers as a view of the file; an absent one is empty."""
    if getattr(source, f"{name}IsNone")():
        return ()
    budget.take(getattr(source, f"{name}Length")())
    return getattr(source, f"{name}AsNumpy")()
