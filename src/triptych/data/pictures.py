"""Pictures as files in a folder a class: any data set in ImageFolder form, and CIFAR-10 as JPEG.

The layout is `{train,test}/<class>/<picture>`; classes are numbered in the order
of their names. A picture is cut to its central square and resized.
"""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.Image import DecompressionBombError

from triptych.config.checks import require
from triptych.config.data import DataConfig
from triptych.data.download import fetch
from triptych.data.prepared import Split
from triptych.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp"}
CIFAR10 = "cifar10_jpeg.tar.xz"
CIFAR10_CHECKSUM = "e07e0e30715fb42d2d644bc9d2516ff610c9f7afb891c5e29e2a428db7951aae"
NAMES = ("train", "test")

Picture = tuple[str, str, bytes | Path]  # split, class, content


def load_image_folder(config: DataConfig, raw: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """The pictures under `data.folder`, as torchvision's ImageFolder would find them.

    Raises DataError where the folder is missing, or has other classes than
    `data.classes` or than its other split; ConfigError for two channels.
    """
    require(
        config.channels in (1, 3),  # other stages of the same config may have painted them in two
        f"data.channels={config.channels}: pictures are read as 1 (grey) or 3 (RGB) channels",
    )
    root = Path(config.folder or "")
    pictures = [
        (name, path.parent.name, path)
        for name in NAMES
        for path in sorted((root / name).glob("*/*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not pictures:
        raise DataError(f"data.folder={root} holds no pictures; expected {{train,test}}/<class>/<picture>")
    return _splits(pictures, config), {"source": f"pictures of {root.name}", "licence": "as its owner says"}


def load_cifar10_jpeg(config: DataConfig, raw: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """CIFAR-10 (Krizhevsky 2009) saved as JPEG: 50,000 and 10,000 pictures, pixels not the official ones.

    Only from TRIPTYCH_MIRROR: the official files are pickles.
    """
    path = fetch("cifar10", CIFAR10, checksum=CIFAR10_CHECKSUM, urls=(), folder=raw / "cifar10")
    with tarfile.open(path) as archive:
        members = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)
        pictures = []
        for member in members:
            split, label, _ = member.name.split("/")[-3:]
            content = archive.extractfile(member)
            assert content is not None
            pictures.append((split, label, content.read()))
    card = {
        "source": "CIFAR-10 (A. Krizhevsky, 2009), re-encoded as lossy JPEG",
        "licence": "not stated",
    }
    return _splits(pictures, config), card


def _splits(pictures: Iterable[Picture], config: DataConfig) -> dict[str, Split]:
    by_name: dict[str, list[tuple[str, bytes | Path]]] = {name: [] for name in NAMES}
    for name, label, content in pictures:
        by_name[name].append((label, content))
    classes = sorted({label for found in by_name.values() for label, _ in found})
    if len(classes) != config.classes:
        raise DataError(f"{config.name} has {len(classes)} classes, data.classes={config.classes}")
    sizes = {"train": config.train_size, "test": config.test_size}
    return {name: _split(found, classes, sizes[name], config) for name, found in by_name.items()}


def _split(found: list[tuple[str, bytes | Path]], classes: list[str], size: int, config: DataConfig) -> Split:
    """The first `size` pictures of a shuffled order: files come sorted by class."""
    order = np.random.default_rng(config.split_seed).permutation(len(found))[:size]
    chosen = [found[i] for i in order]
    mode = "L" if config.channels == 1 else "RGB"
    shape = (0, config.channels, config.image_size, config.image_size)
    images = [decode(content, config.image_size, mode) for _, content in chosen]
    labels = np.array([classes.index(label) for label, _ in chosen], np.int64)
    return Split(np.stack(images) if images else np.empty(shape, np.uint8), labels)


def decode(content: bytes | Path, size: int, mode: Literal["L", "RGB"]) -> NDArray[np.uint8]:
    """[channels, size, size]: the central square, resized bilinearly where it has another size."""
    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as picture:
            square = _central_square(picture.convert(mode))
    except (UnidentifiedImageError, DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        name = content if isinstance(content, Path) else "an archived picture"
        raise DataError(f"{name} is not a picture: {error}") from error
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(square, np.uint8)
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _central_square(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))
