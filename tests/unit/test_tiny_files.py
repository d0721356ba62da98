from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from subnets import EVEN, SPACE, supernet

from triptych.data.files import write_json
from triptych.data.prepared import Split
from triptych.errors import DataError
from triptych.tiny.files import hold_out, read_arch, read_supernet, tensors, write_supernet
from triptych.tiny.inputs import to_input, to_int8


def split(n: int) -> Split:
    images = np.arange(n * 64, dtype=np.uint8).reshape(n, 1, 8, 8)
    return Split(images, np.arange(n, dtype=np.int64))


def test_held_out_images_are_never_trained_on():
    """The search would reward memory."""
    train, held_out = hold_out(split(10), 3)
    assert train.labels.tolist() == list(range(7))
    assert held_out.labels.tolist() == [7, 8, 9]


def test_a_supernet_survives_its_file(tmp_path: Path):
    """Search and quantization read what training wrote."""
    network = supernet(SPACE)
    write_supernet(tmp_path / "supernet.safetensors", network)
    loaded = read_supernet(tmp_path / "supernet.safetensors", SPACE).state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(loaded[name], value)


def test_the_weights_of_another_space_are_refused(tmp_path: Path):
    """After a change of the space the old weights have other shapes; say so, with the remedy."""
    write_supernet(tmp_path / "supernet.safetensors", supernet(SPACE))
    with pytest.raises(DataError, match=r"width_mult=1\.0.*run its stage again"):
        read_supernet(tmp_path / "supernet.safetensors", replace(SPACE, width_mult=1.0))


def test_a_cut_supernet_is_refused(tmp_path: Path):
    """Half a file must not become random weights."""
    path = tmp_path / "supernet.safetensors"
    write_supernet(path, supernet(SPACE))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"supernet\.safetensors"):
        read_supernet(path, SPACE)


def test_a_missing_supernet_names_the_command(tmp_path: Path):
    """The reader wants to know what to run."""
    with pytest.raises(DataError, match="dvc repro"):
        read_supernet(tmp_path / "supernet.safetensors", SPACE)


def test_the_architecture_of_another_space_is_refused(tmp_path: Path):
    """arch.json left from an earlier space has another cost."""
    write_json(tmp_path / "arch.json", EVEN.smallest().to_json())
    assert read_arch(tmp_path / "arch.json", EVEN) == EVEN.smallest()
    with pytest.raises(DataError, match="resolution"):
        read_arch(tmp_path / "arch.json", SPACE)


def test_inputs_are_pixels_from_zero_to_one():
    """The range is promised to the device as its input quantization."""
    x, labels = tensors(split(4), 13)
    assert x.shape == (4, 1, 13, 13)
    assert 0 <= x.min() <= x.max() <= 1
    assert labels.tolist() == [0, 1, 2, 3]


def test_no_resize_changes_no_pixel():
    """At its own resolution an image reaches the device as its bytes, channels last."""
    images = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).to(torch.uint8)
    integers = to_int8(to_input(images, 4)).to(torch.int16) + 128
    assert torch.equal(integers, images.permute(0, 2, 3, 1).to(torch.int16))
