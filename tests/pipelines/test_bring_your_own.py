"""docs/bring_your_own.md, run as it is written."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from tests.networks import example_graph
from tests.pipelines.conftest import ROOT, Checkout, make_checkout
from triptych.graph.tflite import write_tflite

SIZES = {"train": 720, "test": 175}  # of each class


def blocks() -> list[list[str]]:
    """The page's code blocks, in order."""
    parts = (ROOT / "docs/bring_your_own.md").read_text().split("```\n")[1::2]
    return [part.splitlines() for part in parts]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with a folder of pictures, a network and a board."""
    made = make_checkout(tmp_path_factory.mktemp("own"))
    rng = np.random.default_rng(0)
    for split, each in SIZES.items():
        for label, brightness in (("cats", 60), ("dogs", 160)):
            folder = made.path / "photos" / split / label
            folder.mkdir(parents=True)
            for i in range(each):
                pixels = rng.integers(brightness, brightness + 90, (20, 14), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    (made.path / "model.tflite").write_bytes(write_tflite(example_graph()))
    return made


def commands(clone: Checkout, block: list[str]) -> str:
    """Everything that the block's commands print."""
    return "".join(clone.run(*shlex.split(line)).stdout for line in block)


def test_pictures_are_prepared_and_listed(clone: Checkout):
    """The first look at somebody's own images."""
    assert "photos" in commands(clone, blocks()[1])
    card = json.loads((clone.path / "data/prepared/photos/card.json").read_text())
    assert card["sizes"] == {"train": 1440, "test": 350}


def test_network_becomes_firmware_for_a_board_of_ones_own(clone: Checkout):
    """A board is a file with its memory: its limits are the ones that count."""
    *_, board, command, _ = blocks()
    (clone.path / "myboard.yaml").write_text("\n".join(board))
    assert "exact on 10 inputs" in commands(clone, command)
    footprint = json.loads((clone.path / "firmware_myboard/footprint.json").read_text())
    assert (footprint["board"], footprint["board_sram"]) == ("myboard", 65536)


@pytest.mark.paper
def test_network_becomes_firmware_for_a_known_board(clone: Checkout):
    """The shorter command; `tests/unit/test_deploy.py` does the same in every run."""
    commands(clone, blocks()[4])
    assert (clone.path / "firmware/footprint.json").exists()


@pytest.mark.paper
def test_sensitive_pictures_become_samples_and_firmware(clone: Checkout):
    """The whole chain on two classes of pictures: one certificate at the end."""
    (line,) = blocks()[2]
    own = [each.strip("',") for each in line.removeprefix("all: [").removesuffix("]").split()]
    clone.override(all=["experiment=smoke", *own])
    said = commands(clone, blocks()[3])
    assert "epsilon" in said
    certificate = json.loads((clone.path / "out/hinge/chain/certificate.json").read_text())
    assert certificate["claims"]["board"]["peak_sram"] > 0
