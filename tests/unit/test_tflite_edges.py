"""The int8 part of networks with operators at their edges, and means of transposed images."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from edges import CODE, POOL, example, operator, packed, tensor, with_edges
from networks import example_graph, inputs_of_size

from triptych.engine.oracle import run_litert
from triptych.engine.reference import run
from triptych.errors import UnsupportedError
from triptych.graph.tflite import int8_part, read_tflite, write_tflite


def test_float_edges_are_left_to_the_application():
    """Default conversions have them; what lies between is computed to the last operator."""
    graph, images = example_graph(), inputs_of_size(example_graph(), 20)
    again = read_tflite(with_edges())
    assert (again.input, again.output) == (graph.input, "chances")
    np.testing.assert_array_equal(run_litert(with_edges(), images), run(again, images))
    assert int8_part(write_tflite(graph)) == write_tflite(graph)


def test_bytes_of_the_application_are_a_flip_away():
    """Converters offer uint8 input and output: QUANTIZE at the edges shifts by 128 and nothing else."""
    model: Any = schema.ModelT.InitFromPackedBuf(with_edges(), 0)
    main = model.subgraphs[0]
    main.operators = main.operators[:-1]
    for at, inner in ((main.inputs[0], main.operators[0].outputs[0]), (main.operators[-1].outputs[0],) * 2):
        if at != inner:
            main.tensors[at].type = schema.TensorType.UINT8
            main.tensors[at].quantization = deepcopy(main.tensors[inner].quantization)
    outer = tensor(model, int(main.operators[-1].outputs[0]), "bytes", type=schema.TensorType.UINT8)
    main.operators.append(operator(model, CODE.QUANTIZE, [int(main.operators[-1].outputs[0])], outer))
    main.outputs = [outer]
    assert read_tflite(packed(model)).output == "chances"


def test_softmax_on_another_grid_than_tflites_is_refused():
    """The kernel writes 1/256 with zero point -128, and nothing else is in TFLite's specification."""
    model: Any = schema.ModelT.InitFromPackedBuf(with_edges(), 0)
    main = model.subgraphs[0]
    main.tensors[main.operators[-1].inputs[0]].quantization.zeroPoint = [0]
    with pytest.raises(UnsupportedError, match="operator 'chances' is a softmax of beta 1"):
        read_tflite(packed(model))


def transposed() -> Any:
    """The example network with its pooling as MCUNet's file has it: transpose, then two means."""
    model = example()
    main = model.subgraphs[0]
    source, output = (int(which[0]) for which in (main.operators[POOL].inputs, main.operators[POOL].outputs))
    first = tensor(model, source, "channels first", shape=[1, 8, 11, 11])
    rows = tensor(model, source, "rows", shape=[1, 8, 11])
    main.tensors[output].shape = [1, 8]

    def constant(*values: int) -> int:
        buffer: Any = schema.BufferT()
        buffer.data = np.frombuffer(np.array(values, np.int32).tobytes(), np.uint8)
        model.buffers.append(buffer)
        kind = {"type": schema.TensorType.INT32, "shape": [len(values)], "buffer": len(model.buffers) - 1}
        return tensor(model, source, f"constant {values}", **kind)

    main.operators[POOL : POOL + 1] = [
        operator(model, CODE.TRANSPOSE, [source, constant(0, 3, 1, 2)], first, "TransposeOptions"),
        operator(model, CODE.MEAN, [first, constant(3)], rows, "ReducerOptions"),
        operator(model, CODE.MEAN, [rows, constant(-1)], output, "ReducerOptions"),
    ]
    return model


def test_means_of_transposed_images_are_means_over_rows_and_columns():
    """Both roundings must happen in the file's order, and no byte must move for the transpose."""
    content = packed(transposed())
    graph = read_tflite(content)
    images = inputs_of_size(graph, 50)
    np.testing.assert_array_equal(run_litert(content, images), run(graph, images))


def test_transposed_images_are_refused_elsewhere():
    """Reading their bytes as NHWC would be silently wrong."""
    model = transposed()
    main = model.subgraphs[0]
    main.operators = main.operators[: POOL + 1]
    main.outputs = main.operators[POOL].outputs
    with pytest.raises(UnsupportedError, match="needs a transposed tensor"):
        read_tflite(packed(model))
