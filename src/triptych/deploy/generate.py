"""Read, plan, generate, compile, simulate, compare: the whole engine on one file."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Int8

from triptych.config.tiny import BoardConfig
from triptych.data.arrays import read_npy
from triptych.data.files import write_atomic, write_json
from triptych.engine.eliminate import eliminate_constant_channels
from triptych.engine.firmware import require_room, write_firmware
from triptych.engine.measure import layer_table, measure, tensor_table
from triptych.engine.reference import run
from triptych.engine.simulate import Simulator
from triptych.errors import DataError, OutputError, UnsupportedError
from triptych.graph.cost import constant_bytes, count_macs
from triptych.graph.memory import plan
from triptych.graph.ops import Graph
from triptych.graph.tflite import read_tflite
from triptych.quantization.requantize import Rounding
from triptych.report.memory import memory_map

STEPS = ("read", "plan", "generate", "compile and simulate", "write")
MARKER = "model.h"  # a folder with this file and others is a firmware that may be replaced
Progress = Callable[[str], None]
Images = Int8[np.ndarray, "n height width channels"]


@dataclass(frozen=True)
class Firmware:
    """The generated folder and its numbers, as `footprint.json` has them; sizes in bytes."""

    folder: Path
    footprint: dict[str, Any]


def generate(  # noqa: PLR0913  # an argument for each option of the command
    model: Path,
    board: BoardConfig,
    out: Path,
    *,
    inputs: Path | None = None,
    check: int = 10,
    rounding: Rounding = "tflite",
    progress: Progress = lambda _: None,
) -> Firmware:
    """Write firmware for the int8 network in `model` into the folder `out`.

    inputs    a .npy file [n, height, width, channels], int8, or float in the network's real units;
              random inputs where it is None. The first is the recorded test vector
    check     how many of them run on the simulated board and must equal LiteRT's outputs byte for
              byte; 0 generates without compiling
    rounding  `tflite` rounds twice as TFLite's reference kernels; `single` once as XNNPACK, LiteRT's default
    progress  is told each of `STEPS` as it begins

    Raises DataError or UnsupportedError for the files, BoardError where the board is too small,
    MismatchError where an output differs, OutputError where `out` cannot be written.
    """
    require_replaceable(out)
    progress("read")
    content = _read(model)
    try:
        graph = read_tflite(content)
    except (DataError, UnsupportedError) as error:
        raise type(error)(f"{model}: {error}") from error
    images = random_inputs(graph, max(check, 1)) if inputs is None else read_images(inputs, graph)
    progress("plan")
    network = eliminate_constant_channels(graph, rounding=rounding)
    require_room(network, board)
    with TemporaryDirectory() as name:
        folder, scratch = Path(name) / "firmware", Path(name)
        progress("generate")
        outputs = run(graph, images[: max(check, 1)], rounding=rounding)
        write_firmware(
            folder, network, board, test_input=images[0], test_output=outputs[0], rounding=rounding
        )
        progress("compile and simulate")
        footprint = {**_expected(graph, network, board), "rounding": rounding}
        if check:
            labels = outputs.reshape(len(outputs), -1).argmax(1)
            measured = measure(
                folder, content, board, images[:check], labels, scratch=scratch, rounding=rounding
            )
            numbers = {key: value for key, value in measured.metrics.items() if key != "board_accuracy"}
            footprint = {**footprint, **measured.footprint, **numbers}
            footprint["layers"] = layer_table(network, _profile(scratch, board, images[0]))
        progress("write")
        write_json(folder / "footprint.json", footprint)
        memory_map(network, plan(network), folder / "memory_map.png")
        _replace(folder, out)
    return Firmware(out, footprint)


def random_inputs(graph: Graph, count: int) -> Images:
    """`count` inputs of seeded noise around different means, over the whole range of int8."""
    rng = np.random.default_rng(0)
    shape = (count, *graph[graph.input].shape[1:])
    each = (count, *[1] * (len(shape) - 1))
    noise = rng.normal(rng.uniform(-60, 60, each), rng.uniform(5, 90, each), shape)
    return np.clip(np.rint(noise), -128, 127).astype(np.int8)


def read_images(path: Path, graph: Graph) -> Images:
    """Inputs of a .npy file; floats are quantized as TFLite does. Raises DataError."""
    values = read_npy(path)
    expected = graph[graph.input].shape[1:]
    if values.shape[1:] != expected or not len(values) or values.dtype.kind not in "fi":
        raise DataError(
            f"{path} holds {values.dtype}{list(values.shape)}; the network takes int8 or float "
            f"[n, {', '.join(map(str, expected))}]"
        )
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds values that are not finite; correct them")
    grid = graph[graph.input].quantization
    if values.dtype.kind == "f" and grid:
        with np.errstate(over="ignore"):  # what is too large for float32 saturates
            steps = values.astype(np.float32) / np.float32(grid.scale)
        values = np.sign(steps) * np.floor(np.abs(steps) + np.float32(0.5)) + grid.zero_point
    return np.clip(values, -128, 127).astype(np.int8)


def require_replaceable(out: Path) -> None:
    """Raise OutputError where `out` is a file, or a folder that holds something other than firmware."""
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).exists():
        raise OutputError(f"{out} is a folder with other files; choose a new or an empty one")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; choose a folder")


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {model}: {error.strerror}; give an int8 .tflite file") from error


def _profile(scratch: Path, board: BoardConfig, image: Int8[np.ndarray, "..."]) -> list[int]:
    simulator = Simulator(scratch / "firmware.elf", board)
    simulator.boot()
    return simulator.profile(image)


def _expected(graph: Graph, network: Graph, board: BoardConfig) -> dict[str, Any]:
    """What is known before anything is compiled."""
    return {
        "board": board.name,
        "board_sram": board.sram,
        "board_flash": board.flash,
        "arena": plan(network).peak,
        "arena_lower_bound": plan(network).lower_bound,
        "constants": constant_bytes(network),
        "macs": count_macs(graph),
        "macs_executed": count_macs(network),
        "tensors": tensor_table(network),
    }


def _replace(folder: Path, out: Path) -> None:
    """Put the files of `folder` into `out`; kernels that the network no longer calls go."""
    shutil.rmtree(out / "kernels", ignore_errors=True)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        write_atomic(out / file.relative_to(folder), file.read_bytes())
