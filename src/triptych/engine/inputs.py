"""The quantized test inputs that the board is measured on."""

from pathlib import Path

import numpy as np
from jaxtyping import Int8, Int64
from safetensors import SafetensorError
from safetensors.numpy import load

from triptych.errors import DataError
from triptych.graph.ops import Graph


def read_inputs(
    path: Path, graph: Graph
) -> tuple[Int8[np.ndarray, "n height width channels"], Int64[np.ndarray, " n"]]:
    """`inputs` and `labels` of a safetensors file. Raises DataError where they do not suit the network."""
    try:
        arrays = load(path.read_bytes())
        inputs, labels = arrays["inputs"], arrays["labels"]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro` to make it") from error
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{path} holds no test inputs ({error}); run `dvc repro` to make it again") from error
    expected = graph[graph.input].shape[1:]
    if inputs.dtype != np.int8 or inputs.shape[1:] != expected or labels.shape != (len(inputs),):
        raise DataError(
            f"{path} holds inputs {inputs.dtype}{list(inputs.shape)} and labels {list(labels.shape)}; "
            f"the network takes int8 [n, {', '.join(map(str, expected))}]"
        )
    if not len(inputs):
        raise DataError(f"{path} holds no input")
    return inputs, labels.astype(np.int64)
