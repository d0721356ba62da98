"""LiteRT as the judge: the ecosystem's own kernels on the same file and inputs."""

from typing import Literal

import numpy as np
from jaxtyping import Int8

from triptych.errors import DataError
from triptych.graph.tflite import int8_part

Kernels = Literal["reference", "xnnpack"]


def run_litert(
    content: bytes, inputs: Int8[np.ndarray, "n height width channels"], *, kernels: Kernels = "reference"
) -> Int8[np.ndarray, "n ..."]:
    """Outputs [n, ...] of the int8 part of the `.tflite` file `content` for `n` inputs, one at a time.

    `reference` kernels round twice (`rounding="tflite"`), `xnnpack` once (`"single"`).
    Raises DataError where LiteRT refuses the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {"reference": OpResolverType.BUILTIN_REF, "xnnpack": OpResolverType.BUILTIN}[kernels]
    try:
        interpreter = Interpreter(
            model_content=int8_part(content), experimental_op_resolver_type=resolver, num_threads=1
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise DataError(f"LiteRT refuses the network: {error}") from error
    source = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]

    def one(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        return interpreter.get_tensor(output)[0]

    return np.stack([one(image) for image in inputs])
