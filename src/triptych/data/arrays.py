"""NumPy's files, of which nothing is run: a damaged one is a DataError, whatever NumPy makes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError


def read_npz(path: Path, *names: str) -> list[NDArray[Any]]:
    """The arrays of these names in an archive. Raises DataError where one is missing or damaged."""
    with (
        _damage_named(path, f"an archive of {', '.join(names)}"),
        path.open("rb") as file,  # which NumPy leaves open where it is no archive
        np.load(file, allow_pickle=False) as arrays,
    ):
        return [arrays[name] for name in names]


def read_npy(path: Path) -> NDArray[Any]:
    """One array, left on the disk: no more of it is believed than the file holds. Raises DataError."""
    with _damage_named(path, "one array, as numpy.save writes it"):
        array = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(array, np.ndarray):
            raise TypeError("it is an archive")
        return array


@contextmanager
def _damage_named(path: Path, content: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; it shall hold {content}") from error
    except Exception as error:  # NumPy, zip, compressors and Python's tokenizer end in a dozen kinds
        raise DataError(f"{path} does not hold {content} ({error}); delete it or write it again") from error
