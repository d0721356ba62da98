"""What the reader says about files that it cannot take."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import example_graph

from triptych.errors import DataError, UnsupportedError
from triptych.graph.ops import Reshape
from triptych.graph.tflite import read_tflite, read_tflite_file, write_tflite

CONTENT = write_tflite(example_graph())
STEM, EXPAND, DEPTHWISE, PROJECT, ADD, POOL, CLASSIFIER = range(7)  # operators


def changed(change: Callable[[Any], None]) -> bytes:
    """The example network with one thing changed."""
    model: Any = schema.ModelT.InitFromPackedBuf(CONTENT, 0)
    change(model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def options(index: int, **values: Any) -> Callable[[Any], None]:
    def change(main: Any) -> None:
        vars(main.operators[index].builtinOptions).update(values)

    return change


def zero_points(main: Any) -> None:
    weight = main.tensors[main.operators[STEM].inputs[1]]
    weight.quantization.zeroPoint = np.full(8, 3)


def float_input(main: Any) -> None:
    main.tensors[main.inputs[0]].type = schema.TensorType.FLOAT32


def two_outputs(main: Any) -> None:
    main.outputs = [main.outputs[0], main.operators[POOL].outputs[0]]


UNSUPPORTED = [
    (options(STEM, dilationHFactor=2), "'stem' has dilation"),
    (options(DEPTHWISE, depthMultiplier=2), "'deep' has depth multiplier 2"),
    (options(STEM, fusedActivationFunction=schema.ActivationFunctionType.TANH), "'stem' has activation 4"),
    (options(CLASSIFIER, weightsFormat=1), "'logits' has weights format 1"),
    (zero_points, r"'stem' has weights .* zero points \[3\]"),
    (float_input, "'image' of 'the network' is FLOAT32"),
    (two_outputs, "2 outputs"),
]


@pytest.mark.parametrize(("change", "message"), UNSUPPORTED)
def test_what_is_not_implemented_is_refused_by_name(change: Callable[[Any], None], message: str):
    """TinyEngine's users meet silent wrong results or a bare NotImplementedError (its issues 37, 49, 59)."""
    with pytest.raises(UnsupportedError, match=message):
        read_tflite(changed(change))


def test_unknown_operators_are_named():
    """The name is what one searches for in the converter's options."""
    model: Any = schema.ModelT.InitFromPackedBuf(CONTENT, 0)
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.LOGISTIC
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(
        UnsupportedError, match=r"operator LOGISTIC \(writes 'stem'\) is not implemented; known: Add"
    ):
        read_tflite(bytes(builder.Output()))


def with_reshape(shape: list[int], wanted: list[int] | None = None) -> bytes:
    """The example network with a reshape to `wanted` before its classifier, declared as `shape`."""
    model: Any = schema.ModelT.InitFromPackedBuf(CONTENT, 0)
    main = model.subgraphs[0]
    classifier = main.operators[CLASSIFIER]
    flat = deepcopy(main.tensors[classifier.inputs[0]])
    flat.name, flat.shape = "flat", shape
    main.tensors.append(flat)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    options = schema.ReshapeOptionsT()
    options.newShape = wanted or shape
    model.operatorCodes.append(code)
    reshape = schema.OperatorT()
    reshape.builtinOptionsType, reshape.builtinOptions = schema.BuiltinOptions.ReshapeOptions, options
    reshape.opcodeIndex = len(model.operatorCodes) - 1
    reshape.inputs, reshape.outputs = [classifier.inputs[0]], [len(main.tensors) - 1]
    classifier.inputs = [len(main.tensors) - 1, *classifier.inputs[1:]]
    main.operators.insert(CLASSIFIER, reshape)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_flattening_before_a_classifier_costs_nothing():
    """Every converter writes one; as an operator it would copy the tensor onto itself."""
    assert read_tflite(with_reshape([1, 8])).ops[POOL].output == read_tflite(CONTENT).ops[CLASSIFIER].input
    assert len(read_tflite(with_reshape([1, 8])).ops) == len(read_tflite(CONTENT).ops)


def test_other_reshapes_are_operators_that_must_mean_what_they_declare():
    """The planner and all that follows believe the declared shape."""
    assert isinstance(read_tflite(with_reshape([1, 2, 4], [1, -1, 4])).ops[CLASSIFIER], Reshape)
    with pytest.raises(
        DataError, match=r"'flat' \(Reshape\) computes shape \[1, 4, 2\], but 'flat' declares"
    ):
        read_tflite(with_reshape([1, 2, 4], [1, 4, 2]))
    with pytest.raises(DataError, match=r"reshapes 8 values to \[1, 3, 3\]"):
        read_tflite(with_reshape([1, 2, 4], [1, 3, 3]))


def wrong_shape(main: Any) -> None:
    main.tensors[main.operators[STEM].outputs[0]].shape = [1, 4, 4, 8]


def out_of_order(main: Any) -> None:
    main.operators.reverse()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            wrong_shape,
            r"'stem' \(Conv2D\) computes shape \[1, 11, 11, 8\], but 'stem' declares \[1, 4, 4, 8\]",
        ),
        (out_of_order, "reads 'mean' before anything writes it"),
    ],
)
def test_inconsistent_networks_are_data_errors(change: Callable[[Any], None], message: str):
    """The generated C would read beside its tensors."""
    with pytest.raises(DataError, match=message):
        read_tflite(changed(change))


def test_other_files_are_data_errors(tmp_path: Path):
    """A wrong path is the commonest mistake."""
    with pytest.raises(DataError, match=r"not a \.tflite file"):
        read_tflite(b"PK\x03\x04 something else")
    with pytest.raises(DataError, match="does not exist"):
        read_tflite_file(tmp_path / "absent.tflite")
    (tmp_path / "broken.tflite").write_bytes(CONTENT[:200])
    with pytest.raises(DataError, match=r"broken\.tflite: a corrupt"):
        read_tflite_file(tmp_path / "broken.tflite")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_never_crash_with_anything_else(data):
    """Bit rot and truncation end in a sentence, not in a traceback from inside a parser."""
    content = bytearray(CONTENT)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DataError, UnsupportedError):
        read_tflite(bytes(content[: data.draw(st.integers(8, len(content)))]))
