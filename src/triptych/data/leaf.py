"""Data that come with owners: LEAF's FEMNIST, and a small set of its digits.

LEAF (Caldas et al. 2018, arXiv:1812.01097) writes `{train,test}/*.json`, each
file with `users`, `num_samples` and, for every user, `x` (784 values in [0, 1],
1 is paper) and `y` (0-61: digits, capitals, small letters). Training images are
ordered by client, and the card says how many each has.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray

from triptych.config.data import DataConfig
from triptych.data.arrays import read_npz
from triptych.data.download import fetch
from triptych.data.files import read_json
from triptych.data.prepared import Split
from triptych.errors import DataError

CLASSES = 62
SIDE = 28
DIGITS = "femnist_digits.npz"
DIGITS_CHECKSUM = "caf569a1884e0f3a0d9ad019ffeb9da6a75f4c5eec7b43d649311295b089ac16"

Images = UInt8[np.ndarray, "n 1 28 28"]
Labels = Int64[np.ndarray, " n"]
Records = dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]  # images and labels, by user


def load_leaf(config: DataConfig, raw: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """FEMNIST under `data.folder`; classes from `data.classes` on are left out (10: digits alone).

    Raises DataError where a file is missing or malformed, or where the number of
    users with training images is not `data.clients`.
    """
    root = Path(config.folder or "")
    train, test = (_kept(read_leaf(root / name), config.classes) for name in ("train", "test"))
    if len(train) != config.clients:
        raise DataError(
            f"{root}/train holds {len(train)} users with images of data.classes={config.classes}; "
            f"set data.clients={len(train)}, not {config.clients}"
        )
    card = {
        "source": "LEAF FEMNIST (Caldas et al. 2018, from NIST Special Database 19)",
        "licence": "BSD-2-Clause (LEAF)",
        "client_sizes": [len(labels) for _, labels in train.values()],
    }
    return {"train": _joined(train), "test": _joined(test)}, card


def load_femnist_digits(config: DataConfig, raw: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """5,997 handwritten digits of 12 clients, in [0, 255] with 0 for paper; writers are not named."""
    path = fetch("femnist_digits", DIGITS, checksum=DIGITS_CHECKSUM, urls=(), folder=raw / "femnist_digits")
    images, labels, owners = read_npz(path, "x", "y", "client")
    everything, client = Split(255 - images[:, None], labels.astype(np.int64)), owners.astype(np.int64)
    order = np.random.default_rng(config.split_seed).permutation(len(client))
    train = order[config.test_size :]
    train = train[np.argsort(client[train], kind="stable")]
    card = {
        "source": "FEMNIST digits of 12 clients (glin20/FEMNIST_Federated_Learning; LEAF, NIST SD 19)",
        "licence": "not stated",
        "client_sizes": np.bincount(client[train], minlength=config.clients or 0).tolist(),
    }
    return {"train": everything.take(train), "test": everything.take(order[: config.test_size])}, card


def read_leaf(folder: Path) -> Records:
    """All users of the JSON files in `folder`, by name. Raises DataError that names file and user."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"{folder} holds no .json file; expected LEAF's {{train,test}}/*.json")
    records: Records = {}
    for path in files:
        for user, data in _users(path).items():
            if user in records:
                raise DataError(f"{path}: user {user!r} occurs in another file of {folder} too")
            records[user] = _arrays(data, f"{path}: user {user!r}")
    return dict(sorted(records.items()))


def _users(path: Path) -> Mapping[str, Any]:
    """`user_data` of one file, checked against `users` and `num_samples`."""
    content = read_json(path)
    if not isinstance(content, dict) or not {"users", "num_samples", "user_data"} <= content.keys():
        raise DataError(f"{path} is not in LEAF's form: users, num_samples and user_data are needed")
    users, sizes, data = content["users"], content["num_samples"], content["user_data"]
    if not (isinstance(users, list) and isinstance(sizes, list) and isinstance(data, dict)):
        raise DataError(f"{path}: users and num_samples must be lists, user_data a mapping")
    if len(users) != len(sizes) or sorted(map(str, users)) != sorted(data):
        raise DataError(f"{path}: users, num_samples and user_data do not speak of the same users")
    for user, size in zip(map(str, users), sizes, strict=True):
        labels = data[user].get("y") if isinstance(data[user], dict) else None
        if not isinstance(labels, list) or len(labels) != size:
            raise DataError(f"{path}: user {user!r} has not the {size} labels that num_samples says")
    return data


def _arrays(data: Mapping[str, Any], where: str) -> tuple[Images, Labels]:
    """Images as bytes with 0 for paper, and labels."""
    try:
        labels = np.array(data["y"])
        pixels = np.array(data.get("x", []), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: x and y are not tables of numbers ({error})") from error
    if pixels.shape != (len(labels), SIDE**2):
        raise DataError(f"{where}: x is {pixels.shape}, expected ({len(labels)}, {SIDE**2})")
    if not ((pixels >= 0) & (pixels <= 1)).all():
        raise DataError(f"{where}: x has values outside [0, 1]")
    if labels.dtype.kind != "i" or labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(f"{where}: y must be whole numbers from 0 to {CLASSES - 1}")
    images = np.rint((1 - pixels) * 255).astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    return images, labels.astype(np.int64)


def _kept(records: Records, classes: int) -> Records:
    """The images whose label is below `classes`; users without any are left out."""
    chosen = {user: (images[y < classes], y[y < classes]) for user, (images, y) in records.items()}
    return {user: (images, labels) for user, (images, labels) in chosen.items() if len(labels)}


def _joined(records: Records) -> Split:
    """All users' images, one user after the other."""
    images = [images for images, _ in records.values()] or [np.zeros((0, 1, SIDE, SIDE), np.uint8)]
    labels = [labels for _, labels in records.values()] or [np.zeros(0, np.int64)]
    return Split(np.concatenate(images), np.concatenate(labels))
