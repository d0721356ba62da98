"""CelebA with hair colour as the spurious feature of gender, from files that the user supplies.

The official release, which its terms forbid to pass on:

<folder>/img_align_celeba/000001.jpg ...   aligned faces, 178 x 218
<folder>/list_attr_celeba.txt              their number, 40 names, then 1 or -1 for each image and name

Semi-synthetic split of the paper (arXiv 2006.10032, section 6; counts and order
from its released script): in the source all women are dark-haired and all men
blond, in the target as photographed. Images in the order of the list go to the
source until it is full, the others to the target.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.Image import DecompressionBombError

from triptych.config.robust import ShiftConfig
from triptych.data.prepared import Split
from triptych.data.shift import Shifted
from triptych.errors import DataError

CARD = {"source": "CelebA (Liu, Luo, Wang, Tang 2015)", "licence": "non-commercial research; not shared"}
SIZE = 32
WOMEN = 1749 / 2999  # share of dark-haired women in the source, the rest are blond men
TARGET = {(0, 0): 25658, (0, 1): 23591, (1, 0): 8055, (1, 1): 499}  # (blond, male): at most so many
TEST_SHARE = 0.1


def read_attributes(folder: Path) -> tuple[list[str], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """File names, whether blond, whether male, in the order of the list."""
    path = folder / "list_attr_celeba.txt"
    try:
        count, header, *rows = path.read_text().splitlines()
        names = header.split()
        blond, male = names.index("Blond_Hair") + 1, names.index("Male") + 1
        table = [row.split() for row in rows if row.strip()]
        values = np.array([[int(row[blond]), int(row[male])] for row in table], np.int64).reshape(-1, 2)
        if len(table) != int(count):
            raise ValueError(f"{len(table)} rows, its first line says {count}")
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist; robust.shift.folder must hold img_align_celeba/ and "
            "list_attr_celeba.txt of the official CelebA release"
        ) from error
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(f"{path} is not the official list of attributes ({error})") from error
    return [row[0] for row in table], (values[:, 0] > 0).astype(np.int64), (values[:, 1] > 0).astype(np.int64)


def divide(
    blond: Int64[np.ndarray, " n"], male: Int64[np.ndarray, " n"], source_size: int
) -> tuple[Int64[np.ndarray, " s"], Int64[np.ndarray, " t"]]:
    """Positions of the source and of the target. Raises DataError where the list has too few."""
    women = round(source_size * WOMEN)
    wanted = {(0, 0): women, (1, 1): source_size - women}
    source, target = [], []
    for (hair, gender), limit in TARGET.items():
        group = np.flatnonzero((blond == hair) & (male == gender))
        need = wanted.get((hair, gender), 0)
        if len(group) < need:
            raise DataError(
                f"the source needs {need} images with Blond_Hair={hair} and Male={gender}, the list has "
                f"{len(group)}; lower robust.shift.source_train_size and source_test_size"
            )
        source.append(group[:need])
        target.append(group[need : need + limit])
    return np.sort(np.concatenate(source)), np.sort(np.concatenate(target))


def read_image(path: Path) -> UInt8[np.ndarray, "3 32 32"]:
    """Shorter side to 32 pixels, then the middle."""
    try:
        with Image.open(path) as image:
            scale = SIZE / min(image.size)
            size = (max(SIZE, round(image.width * scale)), max(SIZE, round(image.height * scale)))
            pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; it is in list_attr_celeba.txt") from error
    except (UnidentifiedImageError, DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} is not an image ({error})") from error
    top, left = (pixels.shape[0] - SIZE) // 2, (pixels.shape[1] - SIZE) // 2
    return pixels[top : top + SIZE, left : left + SIZE].transpose(2, 0, 1)


def shift_celeba(config: ShiftConfig, *, seed: int) -> Shifted:
    """The four splits; the hair colour of each image (0 dark, 1 blond) in place of a painted one."""
    folder = Path(config.folder or "")
    names, blond, male = read_attributes(folder)
    size = config.source_train_size + config.source_test_size
    source, target = divide(blond, male, size)
    rng = np.random.default_rng(seed)
    source, target = rng.permutation(source), rng.permutation(target)
    tests = round(len(target) * TEST_SHARE)
    parts = {
        "source_train": source[: config.source_train_size],
        "source_test": source[config.source_train_size :],
        "target_train": target[tests:],
        "target_test": target[:tests],
    }
    images = {
        name: np.stack([read_image(folder / "img_align_celeba" / names[i]) for i in index])
        for name, index in parts.items()
    }
    colours = {name: _hair(blond, index) for name, index in parts.items()}
    unlabelled = images.pop("target_train")
    labelled = {name: Split(each, male[parts[name]]) for name, each in images.items()}
    return Shifted(None, 2, labelled, unlabelled, colours)


def _hair(blond: Int64[np.ndarray, " n"], index: NDArray[np.int64]) -> Float32[np.ndarray, " k"]:
    return blond[index].astype(np.float32)
