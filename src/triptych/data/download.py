"""Files from official addresses or a local mirror, verified before use.

`TRIPTYCH_MIRROR` names a folder laid out as `<data set>/<file>`. A mirror file
with a wrong checksum is passed over in favour of the official address.
"""

import os
import shutil
import warnings
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from triptych.data.files import sha256
from triptych.errors import DataError

MAX_BYTES = 1 << 30  # no data set here is larger


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
                url,
                known_hash=f"sha256:{checksum}",
                fname=path.name,
                path=path.parent,
                downloader=continue_download,  # pyright: ignore[reportArgumentType]  # pooch annotates a processor
            )
        except (OSError, ValueError) as error:  # requests raise OSError, a wrong hash ValueError
            reasons.append(f"{url}: {error}")
        else:
            return path
    raise DataError(
        f"cannot fetch {path.name} (SHA-256 {checksum}):\n  "
        + "\n  ".join(reasons)
        + "\nPut the file into a folder <mirror>/<data set>/ and set TRIPTYCH_MIRROR=<mirror>."
    )


def continue_download(url: str, output_file: str, pooch: object) -> None:
    """Download for pooch, which checks the hash: continue what an interrupted attempt left.

    The bytes collect in `.<name>.part` beside pooch's own temporary file, and are
    moved there when complete.
    """
    part = Path(output_file).parent / f".{url.rsplit('/', 1)[-1]}.part"
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # longer than the file: not a part of it
        answer.raise_for_status()
        continued = answer.status_code == requests.codes.partial_content
        total = int(answer.headers.get("Content-Length", 0)) + (done if continued else 0)
        if total > MAX_BYTES:
            raise ValueError(f"{total} bytes is more than the limit of {MAX_BYTES}")
        with (
            part.open("ab" if continued else "wb") as handle,
            tqdm(desc=part.name[1:-5], total=total, initial=handle.tell(), unit="B", unit_scale=True) as bar,
        ):
            for chunk in answer.iter_content(1 << 16):
                handle.write(chunk)
                bar.update(len(chunk))
                if handle.tell() > MAX_BYTES:
                    raise ValueError(f"the answer exceeds the limit of {MAX_BYTES} bytes")
    part.replace(output_file)
