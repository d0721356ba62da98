"""Files from official addresses or a local mirror, verified before use.

`TRIPTYCH_MIRROR` names a folder laid out as `<data set>/<file>`. A mirror file
with a wrong checksum is passed over in favour of the official address.
"""

import os
import shutil
import warnings
from pathlib import Path

import pooch

from triptych.data.files import sha256
from triptych.errors import DataError


def fetch(dataset: str, name: str, *, checksum: str, urls: tuple[str, ...], folder: Path) -> Path:
    """The verified file `folder/name`: what is there, the mirror's, or a download.

    Raises DataError with the expected and the actual checksum, or with the
    reasons why no address served the file.
    """
    path = folder / name
    if path.exists():
        actual = sha256(path)
        if actual == checksum:
            return path
        raise DataError(
            f"{path} is corrupt: SHA-256 is {actual}, expected {checksum}; delete it to fetch it again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return _from_mirror(dataset, path, checksum) or _from_network(path, checksum, urls)


def _from_mirror(dataset: str, path: Path, checksum: str) -> Path | None:
    mirror = os.environ.get("TRIPTYCH_MIRROR")
    if not mirror:
        return None
    original = Path(mirror) / dataset / path.name
    if not original.exists():
        warnings.warn(f"TRIPTYCH_MIRROR has no {original}; trying the official address", stacklevel=3)
        return None
    actual = sha256(original)
    if actual != checksum:
        warnings.warn(
            f"{original} is corrupt: SHA-256 is {actual}, expected {checksum}; trying the official address",
            stacklevel=3,
        )
        return None
    partial = path.with_name(f".{path.name}.partial")
    shutil.copyfile(original, partial)
    partial.replace(path)
    return path


def _from_network(path: Path, checksum: str, urls: tuple[str, ...]) -> Path:
    reasons = []
    for url in urls:
        try:
            pooch.retrieve(
                url, known_hash=f"sha256:{checksum}", fname=path.name, path=path.parent, progressbar=True
            )
        except (OSError, ValueError) as error:  # requests' errors are OSError, a wrong hash is ValueError
            reasons.append(f"{url}: {error}")
        else:
            return path
    raise DataError(
        f"cannot fetch {path.name} (SHA-256 {checksum}):\n  "
        + "\n  ".join(reasons)
        + "\nPut the file into a folder <mirror>/<data set>/ and set TRIPTYCH_MIRROR=<mirror>."
    )
