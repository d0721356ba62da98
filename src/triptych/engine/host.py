"""The same C on this machine: quick comparisons without a simulator."""

import ctypes
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from triptych.data.files import write_atomic
from triptych.engine.emit import emit
from triptych.engine.toolchain import build_native
from triptych.graph.ops import Graph
from triptych.quantization.requantize import Rounding


def run_native(
    graph: Graph, inputs: Int8[np.ndarray, "n height width channels"], *, rounding: Rounding = "tflite"
) -> Int8[np.ndarray, "n size"]:
    """Outputs of the generated C, compiled for this machine, for `n` inputs."""
    sources = emit(graph, rounding=rounding)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in sources.items():
            write_atomic(folder / path, text.encode())
        names = [path for path in sources if path.endswith(".c")]
        library = ctypes.CDLL(str(build_native(folder, folder / "model.so", names=names)))
    for function in (library.model_input, library.model_output):
        function.restype = ctypes.c_void_p
    size = graph[graph.output].size

    def one(image: Int8[np.ndarray, "..."]) -> Int8[np.ndarray, " size"]:
        ctypes.memmove(library.model_input(), image.tobytes(), image.size)
        library.model_run()
        return np.frombuffer(ctypes.string_at(library.model_output(), size), np.int8)

    return np.stack([one(image) for image in inputs])
