"""USPS digits, the target of MNIST → USPS: 7,291 and 2,007 images of 16x16, a shift that nobody painted.

The official files are text (T. Hastie, R. Tibshirani, J. Friedman, "The Elements
of Statistical Learning", zip.train and zip.test): the digit, then 256 values in
[-1, 1] with three decimals. What is verified is their decoded content, so that a
mirror may hold the same numbers in the smaller `usps.npz`.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from numpy.typing import NDArray

from triptych.data.arrays import read_npz
from triptych.data.download import continue_download, fetch
from triptych.data.prepared import Split
from triptych.errors import DataError

ADDRESS = "https://hastie.su.domains/ElemStatLearn/datasets/"
FILES = {"train": "zip.train.gz", "test": "zip.test.gz"}
MIRRORED = "88495289fa4937dda75b501d3da5ea0c7ebb60e607236e9401ed130127d880ad"  # usps.npz
CONTENT = "5dea9b7a570b05732138fa2e41426fc654e9842127a7c5d48d87b0037bf92fb6"
CARD = {
    "target": "USPS (J. J. Hull 1994), as distributed with The Elements of Statistical Learning",
    "target_licence": "none stated; research use",
}
MAX_TEXT = 1 << 25  # bytes; the larger text has 15 million
Thousandths = NDArray[np.int16]  # (v + 1) * 1000 of the official v, 0 to 2000; ink is high


def load_usps(raw: Path, image_size: int) -> dict[str, Split]:
    """`train` and `test` as bytes, resized to `image_size`. Raises DataError where the content is another."""
    mirror = os.environ.get("TRIPTYCH_MIRROR")
    folder = raw / "usps"
    if (mirror and (Path(mirror) / "usps/usps.npz").exists()) or (folder / "usps.npz").exists():
        path = fetch("usps", "usps.npz", checksum=MIRRORED, urls=(), folder=folder)
        names = [f"{kind}_{name}" for name in FILES for kind in "xy"]
        x_train, y_train, x_test, y_test = read_npz(path, *names)
        arrays = {"train": (x_train, y_train), "test": (x_test, y_test)}
    else:
        arrays = {name: parse(_download(folder, file), file) for name, file in FILES.items()}
    if (found := content_digest(arrays)) != CONTENT:
        raise DataError(f"USPS in {folder} has the content {found}, expected {CONTENT}; delete the folder")
    return {
        name: Split(resize(np.rint(pixels * (255 / 2000)).astype(np.uint8), image_size)[:, None], labels)
        for name, (pixels, labels) in arrays.items()
    }


def parse(content: bytes, name: str) -> tuple[Thousandths, NDArray[np.int64]]:
    """Pixels [n, 16, 16] and labels of the official text."""
    try:
        table = np.array([line.split() for line in content.splitlines() if line.strip()], np.float64)
        digits, values = table[:, 0], table[:, 1:]
        if not ((digits >= 0) & (digits <= 9)).all() or not (np.abs(values) <= 1).all():
            raise ValueError("digits go from 0 to 9, values from -1 to 1")
        pixels = np.rint((values + 1) * 1000).astype(np.int16).reshape(-1, 16, 16)
    except (ValueError, IndexError) as error:
        raise DataError(f"{name} is not a table of a digit and 256 values ({error}); delete it") from error
    return pixels, digits.astype(np.int64)


def content_digest(arrays: Mapping[str, tuple[Thousandths, NDArray[np.int64]]]) -> str:
    """SHA-256 of pixels and labels, training before test."""
    total = hashlib.sha256()
    for name in FILES:
        pixels, labels = arrays[name]
        total.update(pixels.astype("<i2").tobytes() + labels.astype(np.uint8).tobytes())
    return total.hexdigest()


def resize(images: UInt8[np.ndarray, "n height width"], size: int) -> UInt8[np.ndarray, "n size size"]:
    """Bilinear, smoothed where it shrinks."""
    pixels = torch.from_numpy(images)[:, None].float()
    scaled = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).byte()[:, 0].numpy()


def _download(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        address, download = ADDRESS + name, continue_download
        pooch.retrieve(address, known_hash=None, fname=name, path=folder, downloader=download)  # pyright: ignore[reportArgumentType]  # pooch annotates a processor
        with gzip.open(path) as text:
            return text.read(MAX_TEXT)  # verified by its content
    except (OSError, EOFError, ValueError, zlib.error) as error:
        path.unlink(missing_ok=True)
        raise DataError(
            f"cannot fetch {ADDRESS}{name}: {error}\nPut usps.npz into a folder <mirror>/usps/ "
            "and set TRIPTYCH_MIRROR=<mirror>."
        ) from error


def card(splits: Mapping[str, Split]) -> dict[str, Any]:
    """What the card of a shifted data set says of the target."""
    return {**CARD, "target_sizes": {name: len(split) for name, split in splits.items()}}
