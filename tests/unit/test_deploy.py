"""The command `triptych-engine` as a user meets it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from networks import example_graph, inputs_of_size, moving_graph

from triptych.deploy import BOARDS, generate
from triptych.deploy.boards import find_board
from triptych.deploy.cli import main
from triptych.deploy.generate import read_images
from triptych.errors import ConfigError, DataError
from triptych.graph.memory import plan
from triptych.graph.tflite import write_tflite

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(example_graph()))
    return path


def test_boards_are_those_of_the_configuration():
    """The search must fit the board that the command builds for."""
    assert set(BOARDS) == {path.stem for path in (ROOT / "conf/board").glob("*.yaml")}
    assert (BOARDS["stm32f746"].sram, BOARDS["stm32f746"].flash) == (320 * 1024, 1024 * 1024)
    for name, board in BOARDS.items():
        board.check()
        assert board.name == name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("z80", "", "board z80 is unknown; choose one of stm32f401"),
        ("none.yaml", None, r"none\.yaml is no board .*No such file"),
        ("b.yaml", "name: b\nsram: many", r"b\.yaml is no board .*many"),
        ("b.yaml", "[1, 2]", r"b\.yaml is no board"),
        ("b.yaml", "name: {", r"b\.yaml is no board"),
        ("b.yaml", "name: b\nflash: 1024", r"b\.yaml is no board .*sram"),
        ("b.yaml", "name: b\nsram: 1000\nflash: 1024", r"board\.sram=1000 must be whole KiB"),
    ],
)
def test_what_is_no_board_is_refused(tmp_path: Path, name: str, text: str | None, message: str):
    """People write these files by hand."""
    path = tmp_path / name
    if text is not None and name.endswith("yaml"):
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        find_board(str(path) if name.endswith("yaml") else name)


def test_one_command_makes_firmware_with_its_numbers_and_a_picture(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The product: everything that a user takes away, checked before it appears."""
    out = tmp_path / "firmware"
    assert main([str(model), "--board", "stm32f746", "--out", str(out), "--check", "3"]) == 0
    footprint = json.loads((out / "footprint.json").read_text())
    assert footprint["arena"] == plan(example_graph()).peak
    layers = footprint["layers"]
    assert max(layer["alive"] for layer in layers) <= footprint["arena"]
    assert sum(layer["macs"] for layer in layers) == footprint["macs"]
    counted = sum(layer["instructions"] for layer in layers)
    assert counted <= footprint["instructions"] <= counted * 1.02  # inputs differ by a few branches
    assert (footprint["inputs_compared"], footprint["mismatches_litert"]) == (3, 0)
    assert (out / "memory_map.png").read_bytes().startswith(b"\x89PNG")
    assert "exact on 3 inputs" in capsys.readouterr().out


def test_rounding_once_is_checked_against_litert_s_default(model: Path, tmp_path: Path):
    """Other bits than TFLite's reference kernels on purpose: they must be XNNPACK's, all of them."""
    once = generate(model, BOARDS["stm32f746"], tmp_path / "once", check=20, rounding="single").footprint
    assert (once["rounding"], once["mismatches_reference"], once["mismatches_litert"]) == ("single", 0, 0)


def test_a_second_run_replaces_the_first_and_nothing_else(model: Path, tmp_path: Path):
    """Kernels of another network left behind would be compiled; a home folder must not be filled."""
    out = tmp_path / "firmware"
    generate(model, BOARDS["stm32f746"], out, check=0)
    model.write_bytes(write_tflite(moving_graph()))
    generate(model, BOARDS["stm32f746"], out, check=0)
    kernels = {path.name for path in (out / "kernels").glob("*.c")}
    assert "softmax.c" in kernels
    assert "conv2d.c" not in kernels
    assert main([str(model), "--board", "stm32f746", "--out", str(ROOT), "--check", "0"]) == 1
    assert not (ROOT / "model.c").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tflite", "--board", "stm32f746"], "cannot read absent.tflite: No such file"),
        (["{model}", "--board", "stm32f410", "--sram", "2048"], r"bytes of sram, but board\.sram=2048"),
        (["{model}", "--board", "stm32f410", "--sram", "1000"], "must be whole KiB"),
        (["{model}", "--board", "stm32f410", "--check", "-1"], "--check -1 is negative"),
        (["{model}", "--board", "stm32f410", "--inputs", "{model}"], "does not hold one array"),
        (["pyproject.toml", "--board", "stm32f746"], r"pyproject\.toml: not a \.tflite file"),
    ],
    ids=["absent", "sram", "kib", "check", "inputs", "other file"],
)
def test_errors_are_one_line_with_the_fix(
    arguments: list[str], message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A traceback tells a user of a command nothing."""
    filled = [argument.format(model=model) for argument in arguments]
    assert main([*filled, "--out", str(tmp_path / "f")]) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert re.search(message, text)
    assert not (tmp_path / "f").exists()


def test_inputs_in_reals_are_quantized_to_the_networks_grid(tmp_path: Path):
    """Images are floats in most data sets; a wrong zero point would compare noise."""
    graph, images = example_graph(), inputs_of_size(example_graph(), 4)
    grid = graph[graph.input].quantization
    assert grid
    np.save(tmp_path / "reals.npy", (images.astype(np.float64) - grid.zero_point) * grid.scale)
    np.save(tmp_path / "bytes.npy", images)
    for name in ("reals.npy", "bytes.npy"):
        np.testing.assert_array_equal(read_images(tmp_path / name, graph), images)
    np.save(tmp_path / "other.npy", images[:, 1:])
    with pytest.raises(DataError, match=r"the network takes int8 or float \[n, 21, 21, 2\]"):
        read_images(tmp_path / "other.npy", graph)
