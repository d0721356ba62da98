"""A marked image in the private set: nothing that may leave holds it, whole or nearly."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.pipelines.conftest import Checkout, make_checkout
from triptych.data.prepared import Split, read_card, read_split, write_prepared

STAGES = ("private_warm_start", "private_train", "private_sample")
KEPT = {"data", ".ckpt", ".git", ".dvc", "src", "tests"}  # the private set, its checkpoints, no results
NEAR = 0.9  # correlation with the marker above which an array counts as a copy


def marker(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Black and white noise: no digit resembles it."""
    return np.random.default_rng(7).choice([0, 255], shape).astype(np.uint8)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone whose private panel ran on a training set that holds the marker."""
    clone = make_checkout(tmp_path_factory.mktemp("marker"))
    real = clone.path / "data/prepared/real"
    clone.stage("prepare", "out=data/prepared/real")
    train, test, card = read_split(real, "train"), read_split(real, "test"), read_card(real)
    images = train.images.copy()
    images[0] = marker(images[0].shape)
    splits = {"train": Split(images, train.labels), "test": test}
    write_prepared(real, splits, classes=card["classes"], card=card)
    for stage, out in zip(STAGES, ("warm_start", "train", "synthetic"), strict=True):
        clone.stage(stage, f"out=out/private/{out}")
    return clone


def may_leave(root: Path) -> Iterator[Path]:
    """Results, store and logs, without what is declared to stay: warm start, `private_*`."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        stays = inside.parts[0] in KEPT or "warm_start" in inside.parts or path.name.startswith("private_")
        if path.is_file() and not stays:
            yield path


def encodings(image: NDArray[np.uint8]) -> dict[str, bytes]:
    """The byte strings under which programs store pixels."""
    unit = image.ravel() / 255
    floats = {"unit": unit, "centred": 2 * unit - 1}
    arrays = {f"{name} {kind}": v.astype(kind) for name, v in floats.items() for kind in ("f2", "f4", "f8")}
    return {"bytes": image.tobytes(), **{name: array.tobytes() for name, array in arrays.items()}}


def nearest(path: Path, image: NDArray[np.uint8]) -> float:
    """The largest correlation of the image with a window of its size in a file of tensors, along any axis."""
    wanted = image.ravel().astype(float)
    wanted = (wanted - wanted.mean()) / wanted.std()
    best = 0.0
    for tensor in load_file(path).values():
        for axis in range(tensor.ndim):
            lines = np.moveaxis(tensor, axis, -1).astype(float).ravel()
            if lines.size >= wanted.size:
                windows = np.lib.stride_tricks.sliding_window_view(lines, wanted.size)
                spread = windows.std(axis=1)
                products = windows @ wanted / wanted.size / np.where(spread > 1e-12, spread, np.inf)
                best = max(best, float(np.abs(products).max()))
    return best


def test_no_result_holds_the_marker(marked: Checkout):
    """A generator, a certificate, a picture, the store: everything that people pass on."""
    image = marker((1, 8, 8))
    files = list(may_leave(marked.path))
    names = {path.name for path in files}
    assert {"generator.safetensors", "certificate.json", "ledger.jsonl", "samples.png", "mlflow.db"} <= names
    wanted = encodings(image)
    found = [(p.name, how) for p in files for how, code in wanted.items() if code in p.read_bytes()]
    assert found == []


def test_no_released_tensor_is_nearly_the_marker(marked: Checkout):
    """A copy with noise or another scale would escape the search for bytes."""
    tensors = [path for path in may_leave(marked.path) if path.suffix == ".safetensors"]
    assert len(tensors) >= 2
    assert {path.name: r for path in tensors if (r := nearest(path, marker((1, 8, 8)))) > NEAR} == {}


def test_the_search_finds_the_marker_where_it_is(marked: Checkout, tmp_path: Path):
    """A search that finds nothing must be able to find something."""
    image = marker((1, 8, 8))
    private = marked.path / "data/prepared/real/train.safetensors"
    assert encodings(image)["bytes"] in private.read_bytes()
    noisy = np.random.default_rng(0).normal(image / 255, 0.1)
    leaked = Split((noisy.clip(0, 1)[None] * 255).astype(np.uint8), np.zeros(1, np.int64))
    write_prepared(tmp_path, {"train": leaked}, classes=10, card={})
    assert nearest(tmp_path / "train.safetensors", image) > NEAR
